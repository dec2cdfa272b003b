// What every script of the browser tests needs: a browser, somebody who is signed in, the API.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const { BROWSER, COMITY, PASSWORD } = process.env;

const browser = await chromium.launch({
  executablePath: BROWSER,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});

/** A browser window of its own, as somebody who may be signed in. */
async function window(who, { width = 1280, dark = false, script = true } = {}) {
  const context = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: dark ? "dark" : "light",
    javaScriptEnabled: script,
    reducedMotion: "reduce",
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  if (who) await signIn(page, who);
  return page;
}

/** Whoever runs the installation signs in by a key. */
const OPERATOR = "operator";

async function signIn(page, who) {
  if (who === OPERATOR) {
    await page.goto(`${COMITY}/console/operator/sign-in`);
    await page.getByLabel("Operate key").fill(process.env.OPERATE_KEY);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.waitForURL((url) => !url.pathname.endsWith("/sign-in"));
    return;
  }
  await page.goto(`${COMITY}/console/sign-in`);
  await page.getByLabel("E-mail address").fill(who);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.waitForURL((url) => !url.pathname.endsWith("/sign-in"));
}

/** An answer of the API, which has to be a good one. */
async function api(method, path, token, body) {
  const answer = await fetch(COMITY + path, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** A bearer token of somebody. */
async function token(who) {
  const answer = await fetch(`${COMITY}/v1/sign-in`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: who, password: PASSWORD }),
  });
  assert.equal(answer.status, 200);
  return (await answer.json()).token;
}
