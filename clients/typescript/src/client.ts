// Asking: may this session do this to that, now?

import { type Decision, invalid, isFields, read, unavailable } from "./decision.js";
import type { components } from "./wire.js";
import { address, type Answer, ask, NoAnswer, problemCode, Secret } from "./http.js";

export interface ComityOptions {
  /** Where Comity is, such as `https://comity.example.com`. */
  readonly url: string;
  /** A key for `decide`. */
  readonly key: string;
  /** Milliseconds for one question, retries included. 2,000 unless you say otherwise. */
  readonly timeoutMs?: number;
  /** Plain http also to other machines. */
  readonly plainHttp?: boolean;
}

/** What a call concerns: an account, or with `organisation` alone the customer as a whole. */
export interface Resource {
  /** By your identifier. It is looked up inside the customer of the session. */
  readonly account?: string;
  /**
   * The customer, by Comity's identifier (`org_…`). Beside `account`: the customer it must belong
   * to, or else the answer is `wrong_resource`.
   */
  readonly organisation?: string;
}

/** One question of several. */
export interface Question extends Resource {
  /** `resource:verb`, without a star. */
  readonly permission: string;
}

export interface AskOptions {
  /** Goes along as `X-Request-ID`, so that the lines of both logs can be joined. */
  readonly requestId?: string;
  /** The `seq` of an earlier answer: decide on nothing older. */
  readonly atLeast?: number;
}

/** What the introspection of a token says (RFC 7662). Only an active one has claims. */
export type Introspection =
  | { readonly active: true; readonly claims: Readonly<Record<string, unknown>> }
  | { readonly active: false; readonly cause?: string };

type Wire = components["schemas"];

/** Comity, as a service asks it. */
export class Comity {
  readonly #url: string;
  readonly #key: Secret;
  readonly #timeoutMs: number;

  constructor(options: ComityOptions) {
    this.#url = address(options.url, options.plainHttp ?? false).href.replace(/\/+$/, "");
    this.#key = new Secret(options.key);
    this.#timeoutMs = options.timeoutMs ?? 2000;
    if (!(this.#timeoutMs > 0 && this.#timeoutMs <= 60_000)) throw new TypeError("timeoutMs must be from 1 to 60000");
  }

  /**
   * May the session of this token do this to that, now? Never throws: whatever is not clearly a
   * yes is a no, with the reason `unavailable` where no trustworthy answer came in time.
   */
  async decide(token: string, permission: string, resource: Resource, options: AskOptions = {}): Promise<Decision> {
    const [decision] = await this.#evaluate(token, [{ ...resource, permission }], options, false);
    return decision ?? unavailable("malformed");
  }

  /** Several questions about one token in one call; as many answers, in the same order. */
  async decideAll(token: string, questions: readonly Question[], options: AskOptions = {}): Promise<Decision[]> {
    return questions.length === 0 ? [] : this.#evaluate(token, questions, options, true);
  }

  /**
   * Asks online what a token is worth. It counts no call and decides nothing about accounts.
   * `application` is the code of yours, to which the key belongs.
   */
  async introspect(token: string, application: string): Promise<Introspection> {
    if (!usable(token)) return { active: false };
    try {
      const form = new URLSearchParams({ token }).toString();
      const answer = await this.#post("/oauth/introspect", "application/x-www-form-urlencoded", form, {}, basic(application, this.#key));
      if (answer.status !== 200) return { active: false, cause: `status_${answer.status}` };
      if (!isFields(answer.body)) return { active: false, cause: "malformed" };
      if (answer.body["active"] === true) return { active: true, claims: answer.body };
      return answer.body["active"] === false ? { active: false } : { active: false, cause: "malformed" };
    } catch (error) {
      return { active: false, cause: error instanceof NoAnswer ? error.cause : "connection" };
    }
  }

  async #evaluate(
    token: string,
    questions: readonly Question[],
    options: AskOptions,
    several: boolean,
  ): Promise<Decision[]> {
    const all = (decision: Decision): Decision[] => questions.map(() => decision);
    try {
      const wrong = usable(token) ? questions.map(unaskable).find((w) => w !== undefined) : "The token is malformed.";
      if (wrong !== undefined) return all(invalid(wrong));
      const asked = questions.map(wire);
      const body: Wire["Evaluation"] | Wire["Evaluations"] = {
        subject: { type: "partner_session", id: token },
        ...(several ? { evaluations: asked } : asked[0]),
        ...(options.atLeast === undefined ? {} : { context: { at_least: options.atLeast } }),
      };
      const path = several ? "/access/v1/evaluations" : "/access/v1/evaluation";
      const answer = await this.#post(path, "application/json", JSON.stringify(body), options);
      const refused = notAnswered(answer);
      if (refused) return all(refused);
      const answers: unknown = several ? isFields<Wire["Decisions"]>(answer.body) && answer.body.evaluations : [answer.body];
      if (!Array.isArray(answers) || answers.length !== questions.length) return all(unavailable("malformed"));
      return questions.map((question, at) => within(question, read(answers[at])));
    } catch (error) {
      return all(unavailable(error instanceof NoAnswer ? error.cause : "connection"));
    }
  }

  #post(path: string, kind: string, body: string, options: AskOptions, authorization?: string): Promise<Answer> {
    const headers: Record<string, string> = {
      authorization: authorization ?? `Bearer ${this.#key.reveal()}`,
      "content-type": kind,
      accept: "application/json",
      "x-request-id": requestId(options.requestId),
      "user-agent": "comity-client-typescript/0.1.0",
    };
    return ask(this.#url + path, { method: "POST", headers, body, timeoutMs: this.#timeoutMs });
  }
}

/** The given identifier if a header can carry it, or else a new one. */
export function requestId(given: string | undefined): string {
  return given !== undefined && /^[A-Za-z0-9._~:/+=-]{1,128}$/.test(given) ? given : crypto.randomUUID();
}

/** The application's name and key, as RFC 6749, section 2.3.1 joins them. */
function basic(application: string, key: Secret): string {
  const [name, secret] = [application, key.reveal()].map((part) => new URLSearchParams({ "": part }).toString().slice(1));
  return `Basic ${Buffer.from(`${name}:${secret}`).toString("base64")}`;
}

function usable(token: unknown): token is string {
  return typeof token === "string" && /^[A-Za-z0-9._~+/=-]{1,4096}$/.test(token);
}

function unaskable(question: Question): string | undefined {
  const word = "[a-z0-9_-]{1,64}";
  if (typeof question.permission !== "string" || !new RegExp(`^${word}:${word}$`).test(question.permission)) {
    return "The permission must be resource:verb.";
  }
  // An account that turned out to be undefined must not become a question about the whole customer,
  // nor a customer that did a question about whichever one the session is for.
  if ("organisation" in question && (typeof question.organisation !== "string" || question.organisation === "")) {
    return "The organisation is named, and empty.";
  }
  const id = "account" in question ? question.account : question.organisation;
  return typeof id === "string" && id !== "" ? undefined : "Name the account, or the organisation.";
}

function wire(question: Question): Wire["Evaluation"] {
  const resource =
    question.account === undefined
      ? { type: "organisation", id: question.organisation ?? "" }
      : { type: "account", id: question.account };
  return { action: { name: question.permission }, resource };
}

/** What is no answer at all, as a decision. */
function notAnswered(answer: Answer): Decision | undefined {
  if (answer.status === 200) return undefined;
  const code = problemCode(answer.body);
  if ((answer.status === 400 || answer.status === 422) && code !== undefined) {
    return invalid("Comity refused the question.");
  }
  if (answer.status === 503 && (code === "stale" || code === "busy")) return unavailable(code);
  return unavailable(`status_${answer.status}`);
}

/** An account's identifier says nothing outside its customer. */
function within(question: Question, decision: Decision): Decision {
  if (!decision.allowed || question.account === undefined || question.organisation === undefined) return decision;
  if (decision.organisation === question.organisation) return decision;
  const message = "The session is for another customer.";
  return { ...decision, allowed: false, reason: "wrong_resource", message };
}
