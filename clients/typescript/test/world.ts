// The demo as a partner and a customer use it: a grant of its own for each test.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const ENV = process.env["COMITY_DEMO_ENV"] ?? "comity-demo/demo.env";

/** The values of demo.env. */
export const demo = Object.fromEntries(
  readFileSync(ENV, "utf8")
    .split("\n")
    .filter((line) => line.includes("="))
    .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1).replaceAll("'", "")]),
) as Record<"COMITY" | "PASSWORD" | "CUSTOMER_ID" | "MARINA" | "SAM" | "TESS" | "DECIDE_KEY" | "PROVISION_KEY", string>;

type Json = Record<string, unknown>;

export async function call(bearer: string, method: string, path: string, body?: object): Promise<Json> {
  const response = await fetch(demo.COMITY + path, {
    method,
    headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text === "" ? {} : (JSON.parse(text) as Json);
}

const signedIn = new Map<string, Promise<string>>();

export function signIn(email: string): Promise<string> {
  const known = signedIn.get(email) ?? call("none", "POST", "/v1/sign-in", { email, password: demo.PASSWORD }).then((s) => String(s["token"]));
  signedIn.set(email, known);
  return known;
}

/** Tess of SailSupport inside Marina Bay, with the role `bookings`. */
export async function enter(mode = "direct", kind = "access_token"): Promise<{ token: string; grant: string; session: string; revoke: () => Promise<Json> }> {
  const [sam, ana, tess] = await Promise.all(
    ["sam@sailsupport.example", "ana@marina-bay.example", "tess@sailsupport.example"].map(signIn),
  ) as [string, string, string];
  const asked = await call(sam, "POST", "/v1/organisations/sailsupport/requests", {
    customer_id: demo.CUSTOMER_ID, level: "partner", modes: ["direct", "act_as"], days: 30, reason: "A test",
  });
  const terms = { roles: ["bookings"], days: 7, jwt: mode !== "act_as" };
  const { summary } = await call(ana, "POST", `/v1/requests/${String(asked["id"])}/summary`, terms);
  const approved = await call(ana, "POST", `/v1/requests/${String(asked["id"])}/approve`, { summary, terms });
  const grant = String(approved["grant"]);
  await call(sam, "PUT", `/v1/grants/${grant}/assignments/${demo.TESS}`, { roles: ["bookings"] });
  const form = new URLSearchParams({
    grant_type: "urn:ietf:params:oauth:grant-type:token-exchange",
    subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
    subject_token: tess,
    audience: "https://api.boats.example",
    resource: `urn:comity:organisation:${demo.MARINA}`,
    grant,
    mode,
    requested_token_type: `urn:ietf:params:oauth:token-type:${kind}`,
    reason: "A test",
  });
  const response = await fetch(`${demo.COMITY}/oauth/token`, { method: "POST", body: form });
  const entered = (await response.json()) as Json;
  assert.ok(response.ok, JSON.stringify(entered));
  const revoke = (): Promise<Json> => call(ana, "POST", `/v1/grants/${grant}/revoke`);
  return { token: String(entered["access_token"]), grant, session: String(entered["session"]), revoke };
}
