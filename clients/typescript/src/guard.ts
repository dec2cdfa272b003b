// What every middleware does, whatever the framework.

import { type Comity, type Question, requestId } from "./client.js";
import type { Decision, No, Yes } from "./decision.js";

type Asked = Question | null | undefined;

export interface GuardOptions<Request> {
  /**
   * What a request would do: the permission, and the account or organisation. Where it returns
   * nothing, the request is refused.
   */
  readonly question: (request: Request) => Asked | Promise<Asked>;
  /**
   * What becomes of a request without a partner token: `refuse` (401; the default), or `pass`,
   * where your own authentication takes over. A token that is there and is refused never passes.
   */
  readonly noSession?: "refuse" | "pass";
  /** With `pass`: Comity's issuer, so that its JWTs are known from your own. */
  readonly issuer?: string;
}

/** A request that carries no partner token, and that you said may pass. */
export const NO_PARTNER = null;

/** Headers by which a gateway tells who the partner is. From outside they are lies. */
export function isPartnerHeader(name: string): boolean {
  return name.toLowerCase().replaceAll("_", "-").startsWith("x-partner-");
}

/** What is answered instead of the handler. */
export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** `yes`: on to the handler. `pass`: on to the builder's own authentication. */
export type Outcome = { readonly yes: Yes } | { readonly pass: true } | { readonly refusal: Refusal };

export async function guard<Request>(
  comity: Comity,
  options: GuardOptions<Request>,
  request: Request,
  authorization: readonly string[],
  id: string | undefined,
): Promise<Outcome> {
  const found = token(authorization);
  if (options.noSession === "pass" && (found === "none" || (found !== "malformed" && !isPartnerToken(found.token, options.issuer)))) {
    return { pass: true };
  }
  if (found === "none" || found === "malformed") {
    return { refusal: refusal(401, "unauthenticated", "Send Authorization: Bearer with a partner session's token.") };
  }
  let question: Asked;
  try {
    question = await options.question(request);
  } catch {
    question = null;
  }
  if (!question) return { refusal: refusal(403, "no_question", "No partner may do this.") };
  const decision: Decision = await comity.decide(found.token, question.permission, question, { requestId: requestId(id) });
  return decision.allowed ? { yes: decision } : { refusal: no(decision) };
}

/**
 * The bearer token. `malformed`: somebody meant to send one. That is never taken for none, and two
 * headers are never taken for one, since another program might read the other.
 */
function token(authorization: readonly string[]): { readonly token: string } | "none" | "malformed" {
  const [value, ...more] = authorization;
  if (value === undefined) return "none";
  const sent = /^bearer +([^\s,]+) *$/i.exec(value)?.[1];
  if (more.length === 0 && sent !== undefined) return { token: sent };
  return more.length === 0 && !/^\s*bearer\b|cmt_/i.test(value) ? "none" : "malformed";
}

/** Whether a token claims to be Comity's: an opaque one by its prefix, a JWT by its issuer. */
function isPartnerToken(token: string, issuer: string | undefined): boolean {
  if (token.startsWith("cmt_")) return true;
  const body = token.split(".")[1];
  if (issuer === undefined || body === undefined) return false;
  try {
    const claims: unknown = JSON.parse(Buffer.from(body, "base64url").toString("utf8"));
    return typeof claims === "object" && claims !== null && "iss" in claims && claims.iss === issuer;
  } catch {
    return false;
  }
}

function no(decision: No): Refusal {
  if (decision.reason === "unavailable") return refusal(503, "unavailable", decision.message);
  return refusal(403, decision.reason, decision.message || "No.");
}

const TITLES: Readonly<Record<number, string>> = {
  401: "Unauthorized",
  403: "Forbidden",
  503: "Service Unavailable",
};

function refusal(status: number, code: string, detail: string): Refusal {
  const headers: Record<string, string> = { "content-type": "application/problem+json", "cache-control": "no-store" };
  if (status === 401) headers["www-authenticate"] = "Bearer";
  if (status === 503) headers["retry-after"] = "1";
  const body = JSON.stringify({ type: "about:blank", title: TITLES[status], status, code, detail });
  return { status, headers, body };
}
