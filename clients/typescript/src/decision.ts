// What Comity answers, and how an answer is read: whatever is not clearly a yes is a no.

import type { components } from "./wire.js";

type Wire = components["schemas"];

/** Somebody, by Comity's identifier. */
export interface Entity {
  readonly type: string;
  readonly id: string;
}

/** In what way the partner is inside: as themselves, reading only, or in the customer's place. */
export type Mode = Wire["Mode"];

/** The stay that a decision is about. */
export interface Stay {
  /** The real person, in every mode. */
  readonly actor: Entity;
  /** Who acts towards your product: the person, or in `act_as` the customer organisation. */
  readonly subject: Entity;
  /** The customer, by Comity's identifier. Whatever you read or change must belong to it. */
  readonly organisation: string;
  readonly session: string;
  readonly grant: string;
  readonly mode: Mode;
  /** When the stay ends at the latest, RFC 3339. */
  readonly deadline: string;
}

/** A yes. It always says who acts. */
export interface Yes extends Stay {
  readonly allowed: true;
  readonly reason: "allowed";
  readonly message: string;
  /** The position of the log that was decided on. */
  readonly seq: number;
}

/**
 * A no. `reason` is Comity's stable code, or one of this library's:
 * - `unavailable`: no answer that can be trusted came in time; `cause` says why
 * - `invalid`: the question itself cannot be asked
 */
export interface No extends Partial<Stay> {
  readonly allowed: false;
  readonly reason: string;
  readonly message: string;
  readonly seq?: number;
  /** Why it is `unavailable`: `timeout`, `connection`, `malformed`, `too_large`, `stale`, `busy` or `status_…`. */
  readonly cause?: string;
}

/**
 * The answer to "may this session do this to that, now?". An object is true in JavaScript, also a
 * no: look at `allowed`.
 */
export type Decision = Yes | No;

export function unavailable(cause: string): No {
  return { allowed: false, reason: "unavailable", message: "Access cannot be checked right now. Try again.", cause };
}

export function invalid(message: string): No {
  return { allowed: false, reason: "invalid", message };
}

/** The fields that a schema names, before anything is believed of them. */
type Fields<Schema> = { readonly [Name in keyof Schema]?: unknown };

export function isFields<Schema = Record<string, unknown>>(value: unknown): value is Fields<Schema> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function entity(value: unknown): Entity | undefined {
  if (!isFields<Wire["Somebody"]>(value)) return undefined;
  const type = text(value.type);
  const id = text(value.id);
  return type !== undefined && id !== undefined ? { type, id } : undefined;
}

function position(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
}

// A mode that the document names and this does not, or the other way round, does not compile.
const MODES: Record<Mode, true> = { direct: true, view: true, act_as: true };

export function isMode(value: unknown): value is Mode {
  return typeof value === "string" && Object.hasOwn(MODES, value);
}

function stay(context: Fields<Wire["DecisionContext"]>): Stay | undefined {
  const actor = entity(context.actor);
  const subject = entity(context.subject);
  const organisation = text(context.organisation);
  const session = text(context.session);
  const grant = text(context.grant);
  const mode = text(context.mode);
  const deadline = text(context.deadline);
  if (!actor || !subject || !organisation || !session || !grant || !mode || !deadline) return undefined;
  if (!isMode(mode)) return undefined;
  return { actor, subject, organisation, session, grant, mode, deadline };
}

/** Reads one answer. A yes that contradicts itself or does not say who acts is none. */
export function read(answer: unknown): Decision {
  if (!isFields<Wire["Decision"]>(answer) || typeof answer.decision !== "boolean") return unavailable("malformed");
  const context = answer.context ?? {};
  if (!isFields<Wire["DecisionContext"]>(context)) return unavailable("malformed");
  const who = stay(context);
  const seq = position(context.seq);
  const message = text(context.message) ?? "";
  if (answer.decision) {
    if (context.reason !== "allowed" || !who || seq === undefined) return unavailable("malformed");
    return { allowed: true, reason: "allowed", message, seq, ...who };
  }
  const reason = text(context.reason) ?? code(context.error) ?? "denied";
  if (reason === "allowed") return unavailable("malformed");
  if (reason === "stale" || reason === "busy") return unavailable(reason);
  return { allowed: false, reason, message, ...(seq === undefined ? {} : { seq }), ...who };
}

/** AuthZEN reports a question of several that could not be answered as an error in its context. */
function code(error: unknown): string | undefined {
  if (!isFields(error)) return undefined;
  if (text(error["code"]) !== undefined) return text(error["code"]);
  const status = error["status"];
  return typeof status === "number" && status < 500 ? "invalid" : "stale";
}
