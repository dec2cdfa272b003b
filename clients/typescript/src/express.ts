// Express, and whatever else calls its middleware with Node's request and response.

import type { IncomingMessage, ServerResponse } from "node:http";

import type { Comity } from "./client.js";
import type { Yes } from "./decision.js";
import { guard, type GuardOptions, isPartnerHeader, NO_PARTNER } from "./guard.js";

const DECISIONS = new WeakMap<IncomingMessage, Yes>();

/**
 * The yes by which a request came in. Throws where there is none, so that a handler that was
 * mounted without the guard fails instead of serving.
 */
export function partner(request: IncomingMessage): Yes {
  const yes = DECISIONS.get(request);
  if (!yes) throw new Error("no decision was made about this request");
  return yes;
}

/** The same, or null where the request carried no partner token and was let pass. */
export function partnerOrNull(request: IncomingMessage): Yes | null {
  return DECISIONS.get(request) ?? NO_PARTNER;
}

/** Lets through what Comity says yes to. Mount it before the handlers that it guards. */
export function comityGuard<Request extends IncomingMessage = IncomingMessage>(
  comity: Comity,
  options: GuardOptions<Request>,
): (request: Request, response: ServerResponse, next: (error?: unknown) => void) => void {
  return (request, response, next) => {
    strip(request);
    const authorization = request.headersDistinct["authorization"] ?? [];
    const id = request.headers["x-request-id"];
    guard(comity, options, request, authorization, typeof id === "string" ? id : undefined).then(
      (outcome) => {
        if ("refusal" in outcome) {
          response.writeHead(outcome.refusal.status, { ...outcome.refusal.headers });
          response.end(outcome.refusal.body);
          return;
        }
        if ("yes" in outcome) DECISIONS.set(request, outcome.yes);
        next();
      },
    ).catch(next);
  };
}

function strip(request: IncomingMessage): void {
  // Node makes both from the raw ones when they are first looked at, so these go first.
  for (const headers of [request.headers, request.headersDistinct]) {
    for (const name of Object.keys(headers)) if (isPartnerHeader(name)) delete headers[name];
  }
  const raw = request.rawHeaders;
  const kept: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? "";
    if (!isPartnerHeader(name)) kept.push(name, raw[at + 1] ?? "");
  }
  raw.splice(0, raw.length, ...kept);
}
