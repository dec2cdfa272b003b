// Webhooks: signed by the reference library of Standard Webhooks, and what must not be believed (T43).

import assert from "node:assert/strict";
import { test } from "node:test";

import { verifyWebhook, WebhookRefused } from "comity-client";
import { Webhook } from "standardwebhooks";

const OLD = `whsec_${Buffer.alloc(32, 1).toString("base64")}`;
const NEW = `whsec_${Buffer.alloc(32, 2).toString("base64")}`;
const NOW = 1_800_000_000;
const BODY = '{"type":"session.ended","data":{"name":"Zoë"}}';

function signed(secret = NEW, at = NOW, body = BODY, id = "evt_1"): Record<string, string> {
  const signature = new Webhook(secret).sign(id, new Date(at * 1000), body);
  return { "webhook-id": id, "webhook-timestamp": String(at), "webhook-signature": signature };
}

function code(headers: Record<string, string | string[] | undefined>, body = BODY, secrets: string | string[] = NEW): string {
  try {
    verifyWebhook(secrets, headers, body, { now: NOW });
  } catch (error) {
    assert.ok(error instanceof WebhookRefused);
    return error.code;
  }
  return "accepted";
}

test("a signed delivery is believed, also while secrets are exchanged", () => {
  const got = verifyWebhook(NEW, signed(), Buffer.from(BODY), { now: NOW });
  assert.deepEqual([got.id, got.timestamp, got.payload], ["evt_1", NOW, JSON.parse(BODY)]);
  assert.equal(verifyWebhook(NEW, new Headers(signed()), BODY, { now: NOW }).id, "evt_1");
  assert.equal(code(signed(OLD), BODY, [NEW, OLD]), "accepted");
  const both = { ...signed(), "webhook-signature": `v1a,xyz ${signed(OLD)["webhook-signature"]} ${signed()["webhook-signature"]}` };
  assert.equal(code(both), "accepted");
  assert.equal(code(signed(NEW, NOW - 300)), "accepted");
  assert.equal(code(signed(NEW, NOW + 300)), "accepted");
});

test("t43 forged, altered, replayed or unsigned deliveries are refused", () => {
  assert.equal(code(signed(OLD)), "signature");
  assert.equal(code(signed(), BODY.replace("ended", "begun")), "signature");
  assert.equal(code(signed(), `${BODY} `), "signature");
  assert.equal(code({ ...signed(), "webhook-id": "evt_2" }), "signature");
  assert.equal(code({ ...signed(), "webhook-timestamp": String(NOW + 1) }), "signature");
  assert.equal(code({ ...signed(), "webhook-signature": "v1," }), "signature");
  assert.equal(code({ ...signed(), "webhook-signature": (signed()["webhook-signature"] ?? "").replace("v1,", "v2,") }), "signature");
  assert.equal(code({ ...signed(), "webhook-signature": (signed()["webhook-signature"] ?? "").slice(0, -9) }), "signature");
  assert.equal(code(signed(NEW, NOW - 301)), "too_old");
  assert.equal(code(signed(NEW, NOW + 301)), "too_new");
  for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
    assert.equal(code({ ...signed(), [name]: undefined }), "missing");
    assert.equal(code({ ...signed(), [name]: ["a", "b"] }), "missing");
  }
  for (const at of ["1e9", "-1", " 1800000000", "1800000000.0", "x"]) {
    assert.equal(code({ ...signed(), "webhook-timestamp": at }), "malformed", at);
  }
  assert.equal(code(signed(NEW, NOW, "not json"), "not json"), "malformed");
  for (const secret of ["", "whsec_", "whsec_c2hvcnQ=", Buffer.alloc(32).toString("base64")]) {
    assert.throws(() => verifyWebhook(secret, signed(), BODY, { now: NOW }), TypeError, secret);
  }
  assert.equal(code(signed(), BODY, []), "signature");
});

test("t43 a tolerance or clock that is no number lets nothing old in", () => {
  for (const wrong of [{ tolerance: Number.NaN }, { tolerance: Infinity }, { tolerance: -1 }, { now: Number.NaN }]) {
    assert.throws(() => verifyWebhook(NEW, signed(NEW, NOW - 9_999_999), BODY, { now: NOW, ...wrong }), TypeError);
  }
});
