// Checking a JWT access token offline (RFC 9068). It may go on for up to 60 s after an ending.

import { isFields, isMode, type Mode } from "./decision.js";
import { address, ask, NoAnswer } from "./http.js";

export interface VerifierOptions {
  /** Comity's issuer, exactly as its metadata says it. */
  readonly issuer: string;
  /** The audience of your application. */
  readonly audience: string;
  /** Milliseconds for fetching metadata and keys. 2,000 unless you say otherwise. */
  readonly timeoutMs?: number;
  readonly plainHttp?: boolean;
  /** Seconds since 1970; the clock unless given. */
  readonly now?: () => number;
}

/** What a token in force says. */
export interface VerifiedToken {
  /** Who acts towards your product. */
  readonly subject: string;
  /** The real person. */
  readonly actor: string;
  /** The partner session. */
  readonly session: string;
  /** The customer, by Comity's identifier. Whatever you read or change must belong to it. */
  readonly organisation: string;
  readonly grant: string;
  readonly mode: Mode;
  readonly scope: readonly string[];
  /** Seconds since 1970. */
  readonly expiresAt: number;
  readonly claims: Readonly<Record<string, unknown>>;
}

/**
 * Why a token was not believed: `malformed`, `algorithm`, `type`, `unknown_key`, `signature`,
 * `issuer`, `audience`, `expired`, `not_yet`, `too_long`, `claims`, or `unavailable` where the keys
 * cannot be had.
 */
export class TokenRefused extends Error {
  override readonly name = "TokenRefused";

  constructor(readonly code: string) {
    super(`token refused: ${code}`);
  }
}

/** The longest life of a token, and how far clocks may be apart, in seconds. */
const LONGEST = 60;
const LEEWAY = 5;
/** Keys are fetched anew after this time, and not used after that one, in milliseconds. */
const FRESH = 300_000;
const USABLE = 600_000;
/** An unknown key, or a failure, makes us ask again, but not more often than this. */
const AGAIN = 10_000;
const MOST_KEYS = 16;

type Algorithm = "ES256" | "EdDSA";
interface Key {
  readonly algorithm: Algorithm;
  readonly key: CryptoKey;
}

/** Checks tokens of one issuer for one audience. Make one and keep it: it holds the keys. */
export class Verifier {
  readonly #options: VerifierOptions;
  readonly #timeoutMs: number;
  #keys = new Map<string, Key>();
  #fetched = -Infinity;
  #tried = -Infinity;
  #fetching: Promise<void> | undefined;

  constructor(options: VerifierOptions) {
    address(options.issuer, options.plainHttp ?? false);
    if (options.audience === "") throw new TypeError("audience must not be empty");
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? 2000;
    if (!(this.#timeoutMs > 0 && this.#timeoutMs <= 60_000)) throw new TypeError("timeoutMs must be from 1 to 60000");
  }

  /** The claims of a token in force. Throws `TokenRefused`. */
  async verify(token: string): Promise<VerifiedToken> {
    const parts = typeof token === "string" && token.length <= 8192 ? token.split(".") : [];
    const [head, body, signature] = parts;
    if (parts.length !== 3 || !head || !body || !signature) throw new TokenRefused("malformed");
    const header = fields(head);
    const kid = header["kid"];
    if (header["alg"] !== "ES256" && header["alg"] !== "EdDSA") throw new TokenRefused("algorithm");
    const type = typeof header["typ"] === "string" ? header["typ"].toLowerCase() : "";
    if (type !== "at+jwt" && type !== "application/at+jwt") throw new TokenRefused("type");
    if ("crit" in header || typeof kid !== "string") throw new TokenRefused("malformed");
    const key = await this.#key(kid);
    // The key says which algorithm it is for; the token is not asked.
    if (key.algorithm !== header["alg"]) throw new TokenRefused("algorithm");
    const parameters = key.algorithm === "ES256" ? { name: "ECDSA", hash: "SHA-256" } : { name: "Ed25519" };
    const signed = new TextEncoder().encode(`${head}.${body}`);
    const good = await crypto.subtle.verify(parameters, key.key, decoded(signature), signed).catch(() => false);
    if (!good) throw new TokenRefused("signature");
    return this.#claims(fields(body));
  }

  #claims(claims: Record<string, unknown>): VerifiedToken {
    const { iss, sub, aud, exp, iat, nbf, jti, sid, act, scope, client_id: client } = claims;
    if (iss !== this.#options.issuer) throw new TokenRefused("issuer");
    const audiences: unknown[] = Array.isArray(aud) ? aud : [aud];
    if (!audiences.includes(this.#options.audience)) throw new TokenRefused("audience");
    const now = this.#options.now?.() ?? Date.now() / 1000;
    // Nothing is before or after a clock that says no number.
    if (!seconds(now)) throw new TokenRefused("unavailable");
    if (!seconds(exp) || !seconds(iat) || (nbf !== undefined && !seconds(nbf))) throw new TokenRefused("claims");
    if (now >= exp + LEEWAY) throw new TokenRefused("expired");
    if (exp > now + LONGEST + LEEWAY || exp - iat > LONGEST + LEEWAY) throw new TokenRefused("too_long");
    if (iat > now + LEEWAY || (nbf !== undefined && nbf > now + LEEWAY)) throw new TokenRefused("not_yet");
    const actor = isFields(act) ? act["sub"] : undefined;
    if (!text(sub) || !text(sid) || !text(actor) || !text(jti) || !text(client)) throw new TokenRefused("claims");
    const { "urn:comity:organisation": organisation, "urn:comity:grant": grant, "urn:comity:mode": mode } = claims;
    if (!text(organisation) || !text(grant) || !isMode(mode)) throw new TokenRefused("claims");
    const words = typeof scope === "string" ? scope.split(" ").filter((s) => s !== "") : [];
    return { subject: sub, actor, session: sid, organisation, grant, mode, scope: words, expiresAt: exp, claims };
  }

  async #key(kid: string): Promise<Key> {
    const now = performance.now();
    const stale = now - this.#fetched > FRESH;
    if (stale || !this.#keys.has(kid)) {
      if (this.#fetching === undefined && now - this.#tried >= AGAIN) {
        this.#tried = now;
        this.#fetching = this.#fetch().finally(() => (this.#fetching = undefined));
      }
      // A failure is no reason to forget keys that may still be used.
      await this.#fetching?.catch(() => undefined);
    }
    if (performance.now() - this.#fetched > USABLE) throw new TokenRefused("unavailable");
    const key = this.#keys.get(kid);
    if (!key) throw new TokenRefused("unknown_key");
    return key;
  }

  async #fetch(): Promise<void> {
    const { issuer } = this.#options;
    const at = new URL(issuer);
    const path = at.pathname === "/" ? "" : at.pathname;
    const metadata = await this.#get(`${at.origin}/.well-known/oauth-authorization-server${path}`);
    const where = metadata["jwks_uri"];
    // The keys of this issuer come from where the issuer is, and from nowhere else.
    if (metadata["issuer"] !== issuer || typeof where !== "string") throw new NoAnswer("malformed");
    if (new URL(where).origin !== at.origin) throw new NoAnswer("malformed");
    const set = (await this.#get(where))["keys"];
    if (!Array.isArray(set)) throw new NoAnswer("malformed");
    const keys = new Map<string, Key>();
    for (const jwk of set.slice(0, MOST_KEYS) as unknown[]) {
      const read = isFields(jwk) && typeof jwk["kid"] === "string" ? await imported(jwk) : undefined;
      if (read && isFields(jwk)) keys.set(jwk["kid"] as string, read);
    }
    this.#keys = keys;
    this.#fetched = performance.now();
  }

  async #get(url: string): Promise<Record<string, unknown>> {
    const headers = { accept: "application/json", "user-agent": "comity-client-typescript/0.1.0" };
    const answer = await ask(url, { method: "GET", headers, timeoutMs: this.#timeoutMs });
    if (answer.status !== 200 || !isFields(answer.body)) throw new NoAnswer(`status_${answer.status}`);
    return answer.body;
  }
}

function seconds(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function text(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function decoded(part: string): Uint8Array<ArrayBuffer> {
  if (!/^[A-Za-z0-9_-]+$/.test(part)) throw new TokenRefused("malformed");
  return new Uint8Array(Buffer.from(part, "base64url"));
}

function fields(part: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(decoded(part)));
  } catch {
    throw new TokenRefused("malformed");
  }
  if (!isFields(value)) throw new TokenRefused("malformed");
  return value;
}

/** A public key for ES256 or EdDSA; anything else in the set is passed over. */
async function imported(jwk: Record<string, unknown>): Promise<Key | undefined> {
  const { kty, crv, x, y, use, alg } = jwk;
  if ((use !== undefined && use !== "sig") || typeof x !== "string") return undefined;
  try {
    if (kty === "EC" && crv === "P-256" && (alg === undefined || alg === "ES256") && typeof y === "string") {
      const name = { name: "ECDSA", namedCurve: "P-256" };
      return { algorithm: "ES256", key: await crypto.subtle.importKey("jwk", { kty, crv, x, y }, name, false, ["verify"]) };
    }
    if (kty === "OKP" && crv === "Ed25519" && (alg === undefined || alg === "EdDSA" || alg === "Ed25519")) {
      const name = { name: "Ed25519" };
      return { algorithm: "EdDSA", key: await crypto.subtle.importKey("jwk", { kty, crv, x }, name, false, ["verify"]) };
    }
  } catch {
    return undefined;
  }
  return undefined;
}
