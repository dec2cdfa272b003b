// HTTP towards Comity: bounded in time and size, no redirects, retried only where nothing was done.

import { isFields } from "./decision.js";

/** A string that does not show itself when it is logged. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    // Visible ASCII: what a header can carry whole.
    if (!/^[\x21-\x7e]{1,4096}$/.test(value)) throw new TypeError("a secret is 1 to 4096 visible ASCII characters");
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }
}

/** Why no answer came that can be trusted. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";

  constructor(override readonly cause: string) {
    super(`no answer of Comity: ${cause}`);
  }
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface Call {
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Milliseconds for everything, retries included. */
  readonly timeoutMs: number;
}

const LARGEST = 1024 * 1024;
const RETRIES = 2;
/** Nothing reached the server, so asking again repeats nothing. */
const NOT_CONNECTED = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/**
 * The address of a server: https, or plain http on this machine, or wherever `plainHttp` says that
 * the network between can be trusted.
 */
export function address(url: string, plainHttp: boolean): URL {
  const read = new URL(url);
  const local = ["127.0.0.1", "[::1]", "localhost"].includes(read.hostname);
  if (read.protocol !== "https:" && !(read.protocol === "http:" && (local || plainHttp))) {
    throw new TypeError(`${read.origin}: use https, or say plainHttp where the network can be trusted`);
  }
  if (read.username || read.password || read.search || read.hash) {
    throw new TypeError("an address of Comity has no user, query or fragment");
  }
  return read;
}

/** Asks, and returns the JSON that came back, whatever the status. Throws `NoAnswer`. */
export async function ask(url: string, call: Call): Promise<Answer> {
  const until = performance.now() + call.timeoutMs;
  for (let tried = 0; ; tried += 1) {
    const left = until - performance.now();
    if (left <= 0) throw new NoAnswer("timeout");
    const attempt = await once(url, call, left);
    if ("status" in attempt && attempt.status !== 503) return attempt;
    const pause = attempt.retryMs;
    if (pause === undefined || tried >= RETRIES || pause >= until - performance.now()) {
      if ("status" in attempt) return attempt;
      throw attempt.failure;
    }
    await new Promise((done) => setTimeout(done, pause));
  }
}

type Attempt = (Answer & { retryMs?: number }) | { failure: NoAnswer; retryMs?: number };

async function once(url: string, call: Call, timeoutMs: number): Promise<Attempt> {
  const signal = AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)));
  let response: Response;
  try {
    response = await fetch(url, {
      method: call.method,
      headers: call.headers,
      ...(call.body === undefined ? {} : { body: call.body }),
      redirect: "manual",
      signal,
    });
  } catch (error) {
    if (signal.aborted) return { failure: new NoAnswer("timeout") };
    const failure = new NoAnswer("connection");
    return NOT_CONNECTED.has(errorCode(error)) ? { failure, retryMs: 50 } : { failure };
  }
  try {
    const bytes = await bounded(response);
    const kind = (response.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
    const json = kind === "application/json" || /^application\/[a-z0-9.-]+\+json$/.test(kind);
    const retryMs = retryAfter(response);
    const answer = { status: response.status, body: json ? parsed(bytes) : undefined };
    return retryMs === undefined ? answer : { ...answer, retryMs };
  } catch (error) {
    if (error instanceof NoAnswer) return { failure: error };
    return { failure: new NoAnswer(signal.aborted ? "timeout" : "connection") };
  }
}

function errorCode(error: unknown): string {
  let at: unknown = error;
  for (let depth = 0; depth < 4 && at instanceof Error; depth += 1) {
    if ("code" in at && typeof at.code === "string") return at.code;
    at = at.cause instanceof AggregateError ? at.cause.errors[0] : at.cause;
  }
  return "";
}

function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after");
  return response.status === 503 && value !== null && /^\d{1,4}$/.test(value) ? Number(value) * 1000 : undefined;
}

async function bounded(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  if (response.body) {
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.byteLength;
      if (length > LARGEST) {
        await reader.cancel().catch(() => undefined);
        throw new NoAnswer("too_large");
      }
      parts.push(value);
    }
  }
  return Buffer.concat(parts);
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch {
    return undefined;
  }
}

/** The `code` of a problem, if it has one. */
export function problemCode(body: unknown): string | undefined {
  return isFields(body) && typeof body["code"] === "string" ? body["code"] : undefined;
}
