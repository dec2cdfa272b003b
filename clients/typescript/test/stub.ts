// A server that does with a question whatever it is told, byte by byte.

import { readFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";

export interface Bad {
  name: string;
  act?: string;
  status?: number;
  type?: string;
  headers?: Record<string, string>;
  body?: string;
  replace?: [string, string];
  reason: string;
  cause?: string;
}

interface Table {
  yes: string;
  answers: Bad[];
}

export const TABLE = JSON.parse(
  readFileSync(process.env["COMITY_BAD_ANSWERS"] ?? "../bad-answers.json", "utf8"),
) as Table;

/** The bytes of one whole answer. */
export function bytes(bad: Omit<Bad, "reason" | "name">): string {
  let body = (bad.body ?? "").replaceAll("YES", TABLE.yes);
  if (bad.replace) {
    if (!body.includes(bad.replace[0])) throw new Error(`nothing to replace: ${bad.replace[0]}`);
    body = body.replaceAll(...bad.replace);
  }
  const headers = { "content-type": bad.type ?? "application/json", connection: "close", ...bad.headers };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = bad.status === 204 ? "" : `content-length: ${Buffer.byteLength(body)}\r\n`;
  return `HTTP/1.1 ${bad.status ?? 200} X\r\n${lines.join("")}${length}\r\n${body}`;
}

export const YES = bytes({ body: "YES" });

/** What one connection gets. */
export type Answerer = (socket: Socket, request: string) => void;

export function answerer(bad: Bad): Answerer {
  const head = "HTTP/1.1 200 X\r\ncontent-type: application/json\r\n";
  switch (bad.act) {
    case undefined:
      return (socket, request) => void socket.end(request.includes(" /yes ") ? YES : bytes(bad));
    case "huge":
      return (socket) => void socket.end(`${head}\r\n${" ".repeat(2_000_000)}${TABLE.yes}`);
    case "stall":
      return () => undefined;
    case "stall_in_body":
      return (socket) => void socket.write(`${head}content-length: ${TABLE.yes.length}\r\n\r\n{`);
    case "drip":
      return (socket) => {
        socket.write(`${head}\r\n`);
        const timer = setInterval(() => socket.write(" "), 50);
        socket.on("close", () => clearInterval(timer));
      };
    case "close":
      return (socket) => void socket.destroy();
    case "cut":
      return (socket) => void socket.end(`${head}content-length: ${TABLE.yes.length + 1}\r\n\r\n${TABLE.yes}`);
    case "garbage":
      return (socket) => void socket.end(`+OK ${TABLE.yes}\r\n\r\n`);
    default:
      throw new Error(`unknown act: ${bad.act}`);
  }
}

export class Stub {
  readonly requests: string[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(answer: Answerer) {
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      let got = "";
      let answered = false;
      socket.on("error", () => undefined);
      socket.on("data", (data) => {
        got += data.toString("latin1");
        const [head, body] = got.split("\r\n\r\n", 2);
        const length = Number(/content-length: (\d+)/i.exec(head ?? "")?.[1] ?? 0);
        if (answered || body === undefined || body.length < length) return;
        answered = true;
        this.requests.push(got);
        answer(socket, got);
      });
    });
  }

  static async serve(answer: Answerer): Promise<Stub> {
    const stub = new Stub(answer);
    await new Promise<void>((done) => stub.#server.listen(0, "127.0.0.1", done));
    return stub;
  }

  get url(): string {
    const at = this.#server.address();
    if (at === null || typeof at === "string") throw new Error("not listening");
    return `http://127.0.0.1:${at.port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((done) => this.#server.close(done));
  }
}
