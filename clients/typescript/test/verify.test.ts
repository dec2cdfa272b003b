// Offline checks against keys of our own: RFC 9068, and what attacks on JWTs look like (T19).

import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { createServer, type Server } from "node:http";
import { after, before, test } from "node:test";

import { TokenRefused, Verifier } from "comity-client";

const AUDIENCE = "https://api.boats.example";
const NOW = 1_800_000_000;
const EC = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ED = generateKeyPairSync("ed25519");
const RSA = generateKeyPairSync("rsa", { modulusLength: 2048 });
const OTHER = generateKeyPairSync("ec", { namedCurve: "P-256" });

let server: Server;
let issuer: string;
let asked: string[] = [];
let keys: object[] = [];
let metadata: object | undefined;
let status = 200;

function jwk(key: KeyObject, more: object): object {
  return { ...key.export({ format: "jwk" }), ...more };
}

const SET = [
  jwk(EC.publicKey, { kid: "ec", use: "sig", alg: "ES256" }),
  jwk(ED.publicKey, { kid: "ed", use: "sig" }),
  jwk(RSA.publicKey, { kid: "rsa", use: "sig", alg: "RS256" }),
  jwk(EC.publicKey, { kid: "enc", use: "enc" }),
];

before(async () => {
  server = createServer((request, response) => {
    asked.push(request.url ?? "");
    const body = request.url === "/oauth/jwks" ? { keys } : (metadata ?? { issuer, jwks_uri: `${issuer}/oauth/jwks` });
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const at = server.address();
  issuer = `http://127.0.0.1:${typeof at === "object" && at ? at.port : 0}`;
});

after(() => {
  server.close();
  server.closeAllConnections();
});

function fresh(now: () => number = () => NOW): Verifier {
  [asked, keys, metadata, status] = [[], SET, undefined, 200];
  return new Verifier({ issuer, audience: AUDIENCE, now });
}

const HEADER = { alg: "ES256", typ: "at+jwt", kid: "ec" };

function claims(more: object = {}): object {
  return {
    iss: issuer, sub: "org_1", aud: AUDIENCE, client_id: "boats-api", iat: NOW, exp: NOW + 60, jti: "j", sid: "sess_1",
    act: { sub: "per_1" }, scope: "boats:read bookings:read",
    "urn:comity:organisation": "org_1", "urn:comity:grant": "grant_1", "urn:comity:mode": "act_as", ...more,
  };
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function minted(header: object = HEADER, payload: object = claims(), key: KeyObject = EC.privateKey): string {
  const signed = `${part(header)}.${part(payload)}`;
  const ed = key.asymmetricKeyType === "ed25519";
  const signature = ed
    ? sign(null, Buffer.from(signed), key)
    : sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

async function refused(verifier: Verifier, token: string): Promise<string> {
  try {
    await verifier.verify(token);
  } catch (error) {
    assert.ok(error instanceof TokenRefused);
    if (token) assert.ok(!error.message.includes(token));
    return error.code;
  }
  return "accepted";
}

test("a token in force says who acts; keys are fetched once", async () => {
  const verifier = fresh();
  const token = await verifier.verify(minted());
  assert.deepEqual(
    [token.subject, token.actor, token.session, token.scope, token.expiresAt],
    ["org_1", "per_1", "sess_1", ["boats:read", "bookings:read"], NOW + 60],
  );
  assert.deepEqual([token.organisation, token.grant, token.mode], ["org_1", "grant_1", "act_as"]);
  await verifier.verify(minted({ ...HEADER, alg: "EdDSA", kid: "ed" }, claims(), ED.privateKey));
  await verifier.verify(minted(HEADER, claims({ aud: ["x", AUDIENCE] })));
  await verifier.verify(minted({ ...HEADER, typ: "application/AT+JWT" }));
  assert.deepEqual(asked, ["/.well-known/oauth-authorization-server", "/oauth/jwks"]);
});

test("t16 t17 claims that are not ours, not now, or too long", async () => {
  const verifier = fresh();
  for (const [more, code] of [
    [{ iss: "https://evil.example" }, "issuer"],
    [{ iss: `${issuer}/` }, "issuer"],
    [{ iss: undefined }, "issuer"],
    [{ aud: "https://api.boats.example.evil" }, "audience"],
    [{ aud: [] }, "audience"],
    [{ aud: undefined }, "audience"],
    [{ iat: NOW - 65, exp: NOW - 5 }, "expired"],
    [{ exp: NOW + 66 }, "too_long"],
    [{ exp: NOW + 3600 }, "too_long"],
    [{ iat: NOW - 600 }, "too_long"],
    [{ iat: NOW + 30 }, "not_yet"],
    [{ nbf: NOW + 30 }, "not_yet"],
    [{ exp: undefined }, "claims"],
    [{ exp: String(NOW + 60) }, "claims"],
    [{ iat: undefined }, "claims"],
    [{ sid: undefined }, "claims"],
    [{ "urn:comity:organisation": undefined }, "claims"],
    [{ "urn:comity:grant": "" }, "claims"],
    [{ "urn:comity:mode": "owner" }, "claims"],
    [{ sub: "" }, "claims"],
    [{ act: undefined }, "claims"],
    [{ act: "per_1" }, "claims"],
    [{ jti: undefined }, "claims"],
    [{ client_id: undefined }, "claims"],
  ] as const) {
    assert.equal(await refused(verifier, minted(HEADER, claims(more))), code, JSON.stringify(more));
  }
});

test("t19 alg none, key confusion, jku, wrong typ, truncated token", async () => {
  const verifier = fresh();
  const good = minted();
  const [head = "", body = "", signature = ""] = good.split(".");
  const pem = EC.publicKey.export({ format: "pem", type: "spki" });
  const hs = `${part({ ...HEADER, alg: "HS256" })}.${body}`;
  const confused = `${hs}.${createHmac("sha256", pem).update(hs).digest("base64url")}`;
  const flipped = `${head}.${part(claims({ sub: "org_2" }))}.${signature}`;
  const der = sign("sha256", Buffer.from(`${head}.${body}`), EC.privateKey).toString("base64url");
  for (const [token, code] of [
    [`${part({ ...HEADER, alg: "none" })}.${body}.`, "malformed"],
    [`${part({ ...HEADER, alg: "none" })}.${body}.AA`, "algorithm"],
    [`${part({ ...HEADER, alg: "nOnE" })}.${body}.AA`, "algorithm"],
    [confused, "algorithm"],
    [minted({ ...HEADER, alg: "RS256", kid: "rsa" }, claims(), RSA.privateKey), "algorithm"],
    [minted({ ...HEADER, kid: "rsa" }), "unknown_key"],
    [minted({ ...HEADER, kid: "enc" }), "unknown_key"],
    [minted({ ...HEADER, kid: "ed" }), "algorithm"],
    [minted({ ...HEADER, alg: "EdDSA" }, claims(), ED.privateKey), "algorithm"],
    [minted({ ...HEADER, kid: undefined }), "malformed"],
    [minted({ ...HEADER, crit: ["exp"] }), "malformed"],
    [minted({ ...HEADER, typ: "JWT" }), "type"],
    [minted({ ...HEADER, typ: "secevent+jwt" }), "type"],
    [minted({ ...HEADER, typ: undefined }), "type"],
    [minted({ ...HEADER, jku: "https://evil.example", jwk: OTHER.publicKey.export({ format: "jwk" }) }, claims(), OTHER.privateKey), "signature"],
    [minted(HEADER, claims(), OTHER.privateKey), "signature"],
    [flipped, "signature"],
    [`${head}.${body}.${der}`, "signature"],
    [`${head}.${body}.${"A".repeat(86)}`, "signature"],
    [good.slice(0, -1), "signature"],
    [good.slice(0, -20), "signature"],
    [`${good}.x`, "malformed"],
    [`${head}.${body}`, "malformed"],
    [`${head}.${body}.a+/=`, "malformed"],
    [`${"A".repeat(9000)}.${body}.${signature}`, "malformed"],
    ["", "malformed"],
    ["cmt_session_abc", "malformed"],
  ] as const) {
    assert.equal(await refused(verifier, token), code, token);
  }
  assert.equal(await refused(verifier, undefined as unknown as string), "malformed");
});

test("unknown keys do not make us ask again and again", async () => {
  const verifier = fresh();
  await verifier.verify(minted());
  for (let n = 0; n < 20; n += 1) {
    assert.equal(await refused(verifier, minted({ ...HEADER, kid: `k${n}` })), "unknown_key");
  }
  assert.equal(asked.length, 2);
});

test("many at once fetch the keys once", async () => {
  const verifier = fresh();
  await Promise.all(Array.from({ length: 20 }, () => verifier.verify(minted())));
  assert.equal(asked.length, 2);
});

test("without keys the answer is unavailable, and metadata of another issuer gives none", async () => {
  for (const wrong of [
    { issuer: "https://evil.example", jwks_uri: `${issuer}/oauth/jwks` },
    { issuer, jwks_uri: "https://evil.example/jwks" },
    { issuer, jwks_uri: 7 },
    { issuer },
    {},
  ]) {
    const verifier = fresh();
    metadata = wrong;
    assert.equal(await refused(verifier, minted()), "unavailable", JSON.stringify(wrong));
  }
  const verifier = fresh();
  status = 500;
  assert.equal(await refused(verifier, minted()), "unavailable");
});

test("t16 with a clock that says no number nothing is believed", async () => {
  assert.equal(await refused(fresh(() => Number.NaN), minted()), "unavailable");
  assert.throws(() => new Verifier({ issuer, audience: AUDIENCE, timeoutMs: Number.NaN }), TypeError);
});
