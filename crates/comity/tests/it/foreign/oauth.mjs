// openid-client, oauth4webapi and jose as a product's service: discovery, exchange, introspection,
// JWT, revocation, and each way in which a client proves itself. Nothing of it knows Comity.

import assert from "node:assert/strict";
import * as jose from "jose";
import * as oauth from "oauth4webapi";
import * as client from "openid-client";

const { COMITY, TESS, TESS_TOKEN, MARINA, DECIDE_KEY, OPERATE_KEY } = process.env;
const AUDIENCE = "https://api.boats.example";
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE = "urn:ietf:params:oauth:token-type:";
const options = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };

const pair = await jose.generateKeyPair("ES256", { extractable: true });
const jwk = { ...(await jose.exportJWK(pair.publicKey)), kid: "mine", use: "sig", alg: "ES256" };
const registered = await fetch(`${COMITY}/v1/platform/applications/boats-api/client-keys`, {
  method: "PUT",
  headers: { authorization: `Bearer ${OPERATE_KEY}`, "content-type": "application/json" },
  body: JSON.stringify({ keys: [jwk] }),
});
assert.equal(registered.status, 200, await registered.text());

const proofs = {
  none: client.None(),
  client_secret_basic: client.ClientSecretBasic(DECIDE_KEY),
  client_secret_post: client.ClientSecretPost(DECIDE_KEY),
  private_key_jwt: client.PrivateKeyJwt({ key: pair.privateKey, kid: "mine" }),
};
for (const [method, proof] of Object.entries(proofs)) {
  const config = await client.discovery(new URL(COMITY), "boats-api", {}, proof, options);
  const server = config.serverMetadata();
  assert.equal(server.issuer, COMITY);
  assert.ok(server.token_endpoint_auth_methods_supported.includes(method));
  const enter = (more) =>
    client.genericGrantRequest(config, EXCHANGE, {
      subject_token: TESS_TOKEN,
      subject_token_type: `${TYPE}access_token`,
      audience: AUDIENCE,
      resource: `urn:comity:organisation:${MARINA}`,
      ...more,
    });
  const opaque = await enter({});
  const signed = await enter({ requested_token_type: `${TYPE}jwt`, scope: "boats:read" });
  assert.equal(signed.scope, "boats:read");

  // Checked without asking: by jose, and by what oauth4webapi makes of RFC 9068.
  const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri));
  const { payload } = await jose.jwtVerify(signed.access_token, keys, {
    issuer: COMITY,
    audience: AUDIENCE,
    typ: "at+jwt",
    algorithms: ["ES256"],
    maxTokenAge: "60s",
  });
  assert.deepEqual(payload.act, { sub: TESS });
  const request = new Request(AUDIENCE, {
    headers: { authorization: `Bearer ${signed.access_token}` },
  });
  const claims = await oauth.validateJwtAccessToken(server, request, AUDIENCE, {
    [oauth.allowInsecureRequests]: true,
  });
  assert.equal(claims.sid, payload.sid);

  if (method !== "none") {
    for (const { access_token } of [opaque, signed]) {
      const told = await client.tokenIntrospection(config, access_token);
      assert.equal(told.active, true);
      assert.deepEqual(told.act, { sub: TESS });
    }
  }
  for (const { access_token } of [opaque, signed]) {
    await client.tokenRevocation(config, access_token);
    if (method !== "none") {
      assert.deepEqual(await client.tokenIntrospection(config, access_token), { active: false });
    }
  }
  await assert.rejects(enter({ subject_token: opaque.access_token }), (error) => {
    assert.equal(error.error, "invalid_grant");
    return true;
  });
  console.log(`${method} is understood`);
}
console.log("openid-client is through");
