// Checking a webhook: Standard Webhooks, over the raw body.

import { createHmac, timingSafeEqual } from "node:crypto";

/** A delivery that is Comity's and is new. */
export interface Webhook {
  /** The same on every attempt: remember it for as long as you would act twice. */
  readonly id: string;
  /** When this attempt was signed, in seconds since 1970, UTC. */
  readonly timestamp: number;
  /** The body, read as JSON. */
  readonly payload: unknown;
}

export interface WebhookOptions {
  /** How far the clocks may be apart, in seconds. 300 unless you say otherwise. */
  readonly tolerance?: number;
  /** Seconds since 1970; the clock unless given. */
  readonly now?: number;
}

/** Why a delivery was not believed: `missing`, `malformed`, `too_old`, `too_new`, `signature`. */
export class WebhookRefused extends Error {
  override readonly name = "WebhookRefused";

  constructor(readonly code: string) {
    super(`webhook refused: ${code}`);
  }
}

type Headers_ = Headers | Readonly<Record<string, string | string[] | undefined>>;

function header(headers: Headers_, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : headers[name];
  if (typeof value !== "string" || value === "") throw new WebhookRefused("missing");
  return value;
}

function key(secret: string): Buffer {
  const bytes = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  if (!secret.startsWith("whsec_") || bytes.length < 24 || bytes.length > 64) {
    throw new TypeError("a webhook secret is whsec_ and 24 to 64 bytes in base64");
  }
  return bytes;
}

/**
 * Checks the signature of a delivery and returns what it says. `body` must be the bytes as they
 * came, not what a parser made of them. With several secrets any one is enough, so that they can
 * be exchanged without a gap. Throws `WebhookRefused`.
 */
export function verifyWebhook(
  secrets: string | readonly string[],
  headers: Headers_,
  body: Uint8Array | string,
  options: WebhookOptions = {},
): Webhook {
  const keys = (typeof secrets === "string" ? [secrets] : secrets).map(key);
  const id = header(headers, "webhook-id");
  const sent = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature");
  if (!/^[\x21-\x7e]{1,256}$/.test(id) || !/^\d{1,12}$/.test(sent)) throw new WebhookRefused("malformed");
  const timestamp = Number(sent);
  const now = options.now ?? Math.floor(Date.now() / 1000);
  const tolerance = options.tolerance ?? 300;
  // Nothing is too old for a tolerance that is no number.
  if (!Number.isFinite(now) || !(tolerance >= 0 && tolerance <= 86_400)) {
    throw new TypeError("now is seconds since 1970, and tolerance 0 to 86400 seconds");
  }
  if (timestamp < now - tolerance) throw new WebhookRefused("too_old");
  if (timestamp > now + tolerance) throw new WebhookRefused("too_new");
  const bytes = typeof body === "string" ? Buffer.from(body) : body;
  const wanted = keys.map((k) => createHmac("sha256", k).update(`${id}.${sent}.`).update(bytes).digest());
  const given = signatures
    .split(" ")
    .slice(0, 16)
    .filter((s) => s.startsWith("v1,"))
    .map((s) => Buffer.from(s.slice(3), "base64"));
  const good = wanted.some((w) => given.some((g) => g.length === w.length && timingSafeEqual(g, w)));
  if (!good) throw new WebhookRefused("signature");
  try {
    const decoded = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return { id, timestamp, payload: JSON.parse(decoded) as unknown };
  } catch {
    throw new WebhookRefused("malformed");
  }
}
