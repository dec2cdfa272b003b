// Hono, on every runtime with `fetch` and Node's `Buffer`.

import type { Context, MiddlewareHandler } from "hono";

import type { Comity } from "./client.js";
import type { Yes } from "./decision.js";
import { guard, type GuardOptions, isPartnerHeader, NO_PARTNER } from "./guard.js";

const DECISIONS = new WeakMap<Context, Yes>();

/**
 * The yes by which a request came in. Throws where there is none, so that a handler that was
 * mounted without the guard fails instead of serving.
 */
export function partner(context: Context): Yes {
  const yes = DECISIONS.get(context);
  if (!yes) throw new Error("no decision was made about this request");
  return yes;
}

/** The same, or null where the request carried no partner token and was let pass. */
export function partnerOrNull(context: Context): Yes | null {
  return DECISIONS.get(context) ?? NO_PARTNER;
}

/** Lets through what Comity says yes to. Mount it before the handlers that it guards. */
export function comityGuard(comity: Comity, options: GuardOptions<Context>): MiddlewareHandler {
  return async (context, next) => {
    strip(context);
    const authorization = context.req.header("authorization");
    const given = authorization === undefined ? [] : [authorization];
    const outcome = await guard(comity, options, context, given, context.req.header("x-request-id"));
    if ("refusal" in outcome) {
      return new Response(outcome.refusal.body, {
        status: outcome.refusal.status,
        headers: { ...outcome.refusal.headers },
      });
    }
    if ("yes" in outcome) DECISIONS.set(context, outcome.yes);
    await next();
    return undefined;
  };
}

function strip(context: Context): void {
  const names = [...context.req.raw.headers.keys()].filter(isPartnerHeader);
  if (names.length === 0) return;
  const headers = new Headers(context.req.raw.headers);
  for (const name of names) headers.delete(name);
  context.req.raw = new Request(context.req.raw, { headers });
}
