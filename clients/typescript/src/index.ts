/**
 * Comity's client: ask before each call, check tokens offline, check webhooks.
 * Middleware stands in `comity-client/express` and `comity-client/hono`.
 */
export { Comity, type AskOptions, type ComityOptions, type Introspection, type Question, type Resource } from "./client.js";
export type { Decision, Entity, Mode, No, Stay, Yes } from "./decision.js";
export { NO_PARTNER, type GuardOptions } from "./guard.js";
export { TokenRefused, Verifier, type VerifiedToken, type VerifierOptions } from "./verify.js";
export { verifyWebhook, WebhookRefused, type Webhook, type WebhookOptions } from "./webhook.js";
