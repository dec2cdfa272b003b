// The middleware of both frameworks, in front of the real server and of one that is broken.

import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";

import { serve } from "@hono/node-server";
import { Comity, type Question, Verifier } from "comity-client";
import * as forExpress from "comity-client/express";
import * as forHono from "comity-client/hono";
import express, { type Request } from "express";
import { Hono } from "hono";

import { answerer, Stub, TABLE } from "./stub.js";
import { demo, enter } from "./world.js";

interface App {
  url: string;
  stop: () => void;
}
interface Options {
  url?: string;
  noSession?: "refuse" | "pass";
  issuer?: string;
}
type Make = (options: Options) => Promise<App>;

const PERMISSIONS: Record<string, string> = { GET: "bookings:read", POST: "bookings:write", DELETE: "maintenance:write" };

function question(method: string, path: string): Question | null {
  const account = /^\/accounts\/([a-z0-9-]+)$/.exec(path)?.[1];
  const permission = PERMISSIONS[method];
  if (path === "/throws") throw new Error("the builder's own fault");
  return account !== undefined && permission !== undefined ? { permission, account } : null;
}

function client(options: Options): Comity {
  return new Comity({ url: options.url ?? demo.COMITY, key: demo.DECIDE_KEY, timeoutMs: 1000 });
}

async function listening(server: Server): Promise<App> {
  if (!server.listening) await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const at = server.address();
  return { url: `http://127.0.0.1:${typeof at === "object" && at ? at.port : 0}`, stop: () => (server.close(), server.closeAllConnections()) };
}

const onExpress: Make = async (options) => {
  const app = express();
  app.use(forExpress.comityGuard(client(options), { ...options, question: (r: Request) => question(r.method, r.path) }));
  app.use((request: Request, response) => {
    const yes = forExpress.partnerOrNull(request);
    if (yes) assert.equal(forExpress.partner(request), yes);
    else assert.throws(() => forExpress.partner(request), /no decision/);
    response.json({ handled: true, actor: yes?.actor.id, mode: yes?.mode, lie: request.headers["x-partner-actor"], raw: request.rawHeaders });
  });
  return listening(createServer(app));
};

const onHono: Make = async (options) => {
  const app = new Hono();
  app.use(forHono.comityGuard(client(options), { ...options, question: (c) => question(c.req.method, c.req.path) }));
  app.all("*", (c) => {
    const yes = forHono.partnerOrNull(c);
    if (yes) assert.equal(forHono.partner(c), yes);
    else assert.throws(() => forHono.partner(c), /no decision/);
    return c.json({ handled: true, actor: yes?.actor.id, mode: yes?.mode, lie: c.req.header("x-partner-actor"), raw: [...c.req.raw.headers].flat() });
  });
  return listening(serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }) as Server);
};

interface Got {
  status: number;
  body: Record<string, unknown>;
  headers: Headers;
}

async function get(app: App, path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Got> {
  const response = await fetch(app.url + path, { method, headers });
  const got = { status: response.status, body: (await response.json()) as Record<string, unknown>, headers: response.headers };
  if (got.status !== 200) {
    assert.equal(got.headers.get("content-type"), "application/problem+json");
    assert.equal(got.headers.get("cache-control"), "no-store");
    assert.equal(got.body["status"], got.status);
  }
  assert.equal(got.status === 200, got.body["handled"] === true);
  return got;
}

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
const outcome = ({ status, body }: Got): unknown[] => [status, body["code"]];

for (const [name, make] of [["express", onExpress], ["hono", onHono]] as const) {
  test(`${name}: what Comity says is done, and a revoke refuses the next call`, async () => {
    const app = await make({});
    const { token, revoke } = await enter("act_as");
    const yes = await get(app, "/accounts/pier-1", { ...bearer(token), "X-Partner-Actor": "per_evil", x_partner_actor: "per_evil" });
    assert.deepEqual([yes.status, yes.body["actor"], yes.body["mode"], yes.body["lie"]], [200, demo.TESS, "act_as", undefined]);
    assert.ok(!JSON.stringify(yes.body["raw"]).includes("per_evil"));
    assert.equal((await get(app, "/accounts/pier-1", { authorization: `bearer  ${token} ` }, "POST")).status, 200);
    assert.deepEqual(outcome(await get(app, "/accounts/pier-1", bearer(token), "DELETE")), [403, "no_role"]);
    assert.deepEqual(outcome(await get(app, "/accounts/elsewhere", bearer(token))), [403, "wrong_resource"]);
    assert.deepEqual(outcome(await get(app, "/other", bearer(token))), [403, "no_question"]);
    assert.deepEqual(outcome(await get(app, "/throws", bearer(token))), [403, "no_question"]);
    assert.deepEqual(outcome(await get(app, "/accounts/pier-1", bearer(token), "PATCH")), [403, "no_question"]);
    const none = await get(app, "/accounts/pier-1");
    assert.deepEqual([...outcome(none), none.headers.get("www-authenticate")], [401, "unauthenticated", "Bearer"]);
    assert.deepEqual(outcome(await get(app, "/accounts/pier-1", { authorization: "Basic x" })), [401, "unauthenticated"]);
    assert.deepEqual(outcome(await get(app, "/accounts/pier-1", bearer("cmt_session_guess"))), [403, "session_unknown"]);
    assert.deepEqual(outcome(await get(app, "/accounts/pier-1", bearer(`${token}x`))), [403, "session_unknown"]);
    await revoke();
    assert.deepEqual(outcome(await get(app, "/accounts/pier-1", bearer(token))), [403, "revoked"]);
    app.stop();
  });

  test(`${name}: only what is no partner's passes, and only where that was said`, async () => {
    const app = await make({ noSession: "pass", issuer: demo.COMITY });
    const own = { "X-Partner-Actor": "per_evil" };
    const passed = await get(app, "/other", own);
    assert.deepEqual([passed.status, passed.body["actor"], passed.body["lie"]], [200, undefined, undefined]);
    assert.equal((await get(app, "/other", { authorization: "Basic eDp5" })).status, 200);
    assert.equal((await get(app, "/other", bearer("own-token"))).status, 200);
    const jwt = (iss: string): string => `e30.${Buffer.from(JSON.stringify({ iss })).toString("base64url")}.AA`;
    assert.equal((await get(app, "/other", bearer(jwt("https://login.boats.example")))).status, 200);
    assert.deepEqual(outcome(await get(app, "/accounts/pier-1", bearer(jwt(demo.COMITY)))), [403, "session_unknown"]);
    for (const authorization of [
      "Bearer cmt_session_guess",
      "bearer cmt_signin_guess",
      "Bearer cmt_session_a, Bearer b",
      "Bearer a b",
      "Bearer",
      "Token cmt_session_guess",
    ]) {
      const { status } = await get(app, "/accounts/pier-1", { authorization });
      assert.ok(status === 401 || status === 403, `${authorization}: ${status}`);
    }
    const { token, revoke } = await enter();
    assert.equal((await get(app, "/accounts/pier-1", bearer(token))).body["actor"], demo.TESS);
    await revoke();
    assert.deepEqual(outcome(await get(app, "/accounts/pier-1", bearer(token))), [403, "revoked"]);
    app.stop();
  });

  test(`${name}: two Authorization headers are never one`, async () => {
    const app = await make({ noSession: "pass" });
    const answer = await new Promise<string>((done) => {
      const socket = connect(Number(new URL(app.url).port), "127.0.0.1");
      let got = "";
      socket.on("data", (data) => (got += data.toString())).on("close", () => done(got));
      socket.end("GET /other HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic eDp5\r\nAuthorization: Bearer cmt_session_x\r\n\r\n");
    });
    app.stop();
    // A framework that shows the first one only lets it pass to the builder's own authentication.
    assert.match(answer, name === "express" ? /^HTTP\/1.1 401 / : /^HTTP\/1.1 (401|200) /);
  });

  test(`${name}: no bad answer reaches the handler`, async () => {
    for (const bad of TABLE.answers.filter((b) => b.act === undefined || ["close", "stall"].includes(b.act))) {
      const stub = await Stub.serve(answerer(bad));
      const app = await make({ url: stub.url, noSession: "pass" });
      const got = await get(app, "/accounts/pier-1", bearer("cmt_session_x"));
      assert.deepEqual(outcome(got), [bad.reason === "unavailable" ? 503 : 403, bad.reason], bad.name);
      if (got.status === 503) assert.equal(got.headers.get("retry-after"), "1");
      app.stop();
      await stub.stop();
    }
  });
}

test("the real server: modes, several questions at once, at least", async () => {
  const comity = client({});
  const { token, session, grant, revoke } = await enter();
  const one = await comity.decide(token, "bookings:write", { account: "pier-1" });
  assert.ok(one.allowed);
  assert.deepEqual([one.actor, one.subject, one.session, one.grant, one.organisation, one.mode],
    [{ type: "person", id: demo.TESS }, { type: "person", id: demo.TESS }, session, grant, demo.MARINA, "direct"]);
  assert.ok((await comity.decide(token, "bookings:read", { organisation: "marina-bay" })).allowed);
  assert.equal((await comity.decide(token, "bookings:read", { account: "pier-1", organisation: "org_other" })).reason, "wrong_resource");
  assert.ok((await comity.decide(token, "bookings:read", { account: "pier-1" }, { atLeast: one.seq })).allowed);
  const later = await comity.decide(token, "bookings:read", { account: "pier-1" }, { atLeast: one.seq + 1_000_000 });
  assert.deepEqual([later.allowed, later.reason], [false, "unavailable"]);
  await revoke();
  assert.equal((await comity.decide(token, "bookings:write", { account: "pier-1" })).reason, "revoked");
  const wrongKey = new Comity({ url: demo.COMITY, key: demo.PROVISION_KEY });
  assert.equal((await wrongKey.decide(token, "bookings:write", { account: "pier-1" })).reason, "unavailable");
});

test("the real server: a JWT offline and online, also after the revoke", async () => {
  const { token, session, revoke } = await enter("direct", "jwt");
  const verifier = new Verifier({ issuer: demo.COMITY, audience: "https://api.boats.example" });
  const verified = await verifier.verify(token);
  assert.deepEqual([verified.subject, verified.actor, verified.session], [demo.TESS, demo.TESS, session]);
  assert.ok(verified.scope.includes("bookings:read"));
  const other = new Verifier({ issuer: demo.COMITY, audience: "https://other.example" });
  await assert.rejects(other.verify(token), { code: "audience" });
  const online = await client({}).introspect(token, "boats-api");
  assert.ok(online.active);
  assert.deepEqual([online.claims["sid"], online.claims["act"]], [session, { sub: demo.TESS }]);
  await revoke();
  assert.deepEqual(await client({}).introspect(token, "boats-api"), { active: false });
  assert.deepEqual(await client({}).introspect(token, "elsewhere"), { active: false, cause: "status_401" });
  const asked = await client({}).decide(token, "bookings:read", { account: "pier-1" });
  assert.equal(asked.allowed, false);
});
