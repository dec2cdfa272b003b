// Asking: whatever a server does, only a yes is a yes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { Comity } from "comity-client";

import { answerer, bytes, Stub, TABLE, YES } from "./stub.js";

const KEY = "cmt_key_never-in-a-log";
const TOKEN = "cmt_session_never-in-a-log";

function comity(url: string, timeoutMs = 2000): Comity {
  return new Comity({ url, key: KEY, timeoutMs });
}

test("the table of bad answers: each is a no with its reason", async () => {
  assert.ok(TABLE.answers.length >= 40);
  for (const bad of TABLE.answers) {
    const stub = await Stub.serve(answerer(bad));
    const began = performance.now();
    const decision = await comity(stub.url, 400).decide(TOKEN, "boats:read", { account: "boat-3" });
    const took = performance.now() - began;
    await stub.stop();
    assert.equal(decision.allowed, false, bad.name);
    assert.equal(decision.reason, bad.reason, `${bad.name}: ${JSON.stringify(decision)}`);
    assert.equal("cause" in decision ? decision.cause : undefined, bad.cause, bad.name);
    assert.ok(took < 1500, `${bad.name}: ${took} ms`);
    assert.equal(stub.requests.length, 1, `${bad.name}: asked once`);
  }
});

test("a yes says who acts", async () => {
  const stub = await Stub.serve((socket) => void socket.end(YES));
  const decision = await comity(stub.url).decide(TOKEN, "boats:read", { account: "boat-3" }, { requestId: "r-1", atLeast: 5 });
  await stub.stop();
  assert.ok(decision.allowed);
  assert.deepEqual(decision.actor, { type: "person", id: "per_1" });
  assert.deepEqual(decision.subject, { type: "organisation", id: "org_1" });
  assert.deepEqual([decision.mode, decision.seq, decision.session], ["act_as", 7, "sess_1"]);
  const asked = stub.requests[0] ?? "";
  assert.match(asked, /^POST \/access\/v1\/evaluation HTTP/);
  assert.match(asked, /x-request-id: r-1\r\n/i);
  assert.match(asked, new RegExp(`authorization: bearer ${KEY}`, "i"));
  assert.deepEqual(JSON.parse(asked.split("\r\n\r\n")[1] ?? ""), {
    subject: { type: "partner_session", id: TOKEN },
    action: { name: "boats:read" },
    resource: { type: "account", id: "boat-3" },
    context: { at_least: 5 },
  });
});

test("t17 an account of another customer is none", async () => {
  const stub = await Stub.serve((socket) => void socket.end(YES));
  const same = await comity(stub.url).decide(TOKEN, "boats:read", { account: "boat-3", organisation: "org_1" });
  const other = await comity(stub.url).decide(TOKEN, "boats:read", { account: "boat-3", organisation: "org_2" });
  await stub.stop();
  assert.equal(same.allowed, true);
  assert.deepEqual([other.allowed, other.reason], [false, "wrong_resource"]);
});

test("what cannot be asked is not asked", async () => {
  const stub = await Stub.serve((socket) => void socket.end(YES));
  const client = comity(stub.url);
  const missing = undefined as unknown as string;
  for (const decision of [
    await client.decide("", "boats:read", { account: "boat-3" }),
    await client.decide("a b", "boats:read", { account: "boat-3" }),
    await client.decide(TOKEN, "boats:*", { account: "boat-3" }),
    await client.decide(TOKEN, "boats:read\n", { account: "boat-3" }),
    await client.decide(TOKEN, missing, { account: "boat-3" }),
    await client.decide(missing, "boats:read", { account: "boat-3" }),
    await client.decide(TOKEN, "boats:read", {}),
    await client.decide(TOKEN, "boats:read", { account: missing, organisation: "org_1" }),
    await client.decide(TOKEN, "boats:read", missing as unknown as { account: string }),
  ]) {
    assert.deepEqual([decision.allowed, decision.reason], [false, "invalid"]);
  }
  await stub.stop();
  assert.deepEqual(stub.requests, []);
});

test("several questions, as many answers", async () => {
  const no = '{"decision":false,"context":{"reason":"no_role","message":"No."}}';
  const error = '{"decision":false,"context":{"error":{"status":503,"message":"x"}}}';
  const questions = [1, 2, 3].map((n) => ({ permission: "boats:read", account: `boat-${n}` }));
  const several = async (body: string): Promise<string[]> => {
    const stub = await Stub.serve((socket) => void socket.end(bytes({ body })));
    const decisions = await comity(stub.url).decideAll(TOKEN, questions);
    await stub.stop();
    assert.match(stub.requests[0] ?? "", /^POST \/access\/v1\/evaluations HTTP/);
    assert.ok(decisions.every((d) => d.allowed === (d.reason === "allowed")));
    return decisions.map((d) => d.reason);
  };
  assert.deepEqual(await several(`{"evaluations":[${TABLE.yes},${no},${error}]}`), ["allowed", "no_role", "unavailable"]);
  const none = ["unavailable", "unavailable", "unavailable"];
  assert.deepEqual(await several(`{"evaluations":[${TABLE.yes}]}`), none);
  assert.deepEqual(await several(`{"evaluations":[${TABLE.yes},${TABLE.yes},${TABLE.yes},${TABLE.yes}]}`), none);
  assert.deepEqual(await several(TABLE.yes), none);
  assert.deepEqual(await comity("http://127.0.0.1:1").decideAll(TOKEN, []), []);
});

test("asked again only where nothing was done", async () => {
  let asked = 0;
  const busy = bytes({ status: 503, headers: { "retry-after": "0" }, body: '{"code":"busy"}' });
  const stub = await Stub.serve((socket) => void socket.end((asked += 1) < 3 ? busy : YES));
  const client = comity(stub.url);
  const decision = await client.decide(TOKEN, "boats:read", { account: "boat-3" });
  await stub.stop();
  assert.deepEqual([decision.allowed, stub.requests.length], [true, 3]);
  const gone = await client.decide(TOKEN, "boats:read", { account: "boat-3" });
  assert.deepEqual(gone, { allowed: false, reason: "unavailable", cause: "connection", message: gone.message });
});

test("secrets do not show, and do not travel in the clear", () => {
  const client = comity("http://127.0.0.1:1");
  for (const shown of [inspect(client, { depth: 9, showHidden: true }), JSON.stringify(client), String(client)]) {
    assert.doesNotMatch(shown, /never-in-a-log/);
  }
  assert.throws(() => comity("http://comity.example"), /use https/);
  assert.throws(() => comity("ftp://127.0.0.1"), /use https/);
  assert.throws(() => new Comity({ url: "https://comity.example", key: "two\nlines" }), (e: Error) => !e.message.includes("two"));
  assert.ok(new Comity({ url: "http://comity.internal", key: KEY, plainHttp: true }));
});

test("introspection: only an active token is one", async () => {
  const introspect = async (answer: string): Promise<boolean> => {
    const stub = await Stub.serve((socket) => void socket.end(answer));
    const { active } = await comity(stub.url, 400).introspect(TOKEN, "boats-api");
    await stub.stop();
    return active;
  };
  assert.equal(await introspect(bytes({ body: '{"active":true,"sub":"per_1"}' })), true);
  for (const body of ['{"active":false}', '{"active":"true"}', '{"active":1}', "{}", "", "[]", "true"]) {
    assert.equal(await introspect(bytes({ body })), false, body);
  }
  assert.equal(await introspect(bytes({ status: 500, body: '{"active":true}' })), false);
  assert.equal(await introspect(bytes({ type: "text/html", body: '{"active":true}' })), false);
});

test("t17 what was looked up and is not there is no narrower or wider question", async () => {
  const stub = await Stub.serve((socket) => void socket.end(YES));
  const missing = undefined as unknown as string;
  for (const resource of [
    { account: missing, organisation: "org_1" },
    { account: "boat-3", organisation: missing },
    { account: "boat-3", organisation: "" },
  ]) {
    const decision = await comity(stub.url).decide(TOKEN, "boats:read", resource);
    assert.deepEqual([decision.allowed, decision.reason], [false, "invalid"], JSON.stringify(resource));
  }
  assert.equal(stub.requests.length, 0);
  // What stands in the resource never becomes the permission.
  const more = { account: "boat-3", permission: "boats:write" };
  await comity(stub.url).decide(TOKEN, "boats:read", more);
  await stub.stop();
  assert.match(stub.requests[0] ?? "", /boats:read/);
});
