// What somebody may try to write into every free field (T3, T41, T42), and then a look at every page.

const { OPERATE_KEY, PROVISION_KEY, CUSTOMER_ID } = process.env;
const TEXTS = [
  `<script>window.__ran=1</script>`,
  `"><img src=x onerror=window.__ran=1>`,
  `'><svg onload=window.__ran=1>`,
  `javascript:window.__ran=1`,
  `</textarea></title></style><script>window.__ran=1</script>`,
  `{{ 7 * 7 }} {% raw %} \${window.__ran=1}`,
  `=HYPERLINK("https://evil.example","look")`,
  `W${"o".repeat(180)}w`,
];
let at = 0;
const next = (most = 200) => TEXTS[at++ % TEXTS.length].slice(0, most);

const customers = [await token("ana@marina-bay.example"), await token("pia@harbor-help.example")];
for (const [n, text] of TEXTS.entries()) {
  const put = (path, body) => api("PUT", `/v1/organisations/${path}`, PROVISION_KEY, body);
  await put(`marina-bay/roles/strange-${n}`, { name: text.slice(0, 100), permissions: ["bookings:read"] });
  await put(`marina-bay/accounts/strange-${n}`, { name: text.slice(0, 100) });
  await put(`strange-${n}`, { name: text.slice(0, 100) });
  await put(`strange-${n}/members/eve`, { name: text.slice(0, 100), email: `eve@strange-${n}.example`, email_verified: true, portal_role: "admin", active: true });
  const { token: enrolment } = await api("POST", `/v1/organisations/strange-${n}/members/eve/enrolment`, PROVISION_KEY, {});
  const enrolled = await fetch(`${COMITY}/v1/enrol`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token: enrolment, password: PASSWORD }),
  });
  assert.equal(enrolled.status, 204);
  const eve = await token(`eve@strange-${n}.example`);
  await api("POST", `/v1/organisations/strange-${n}/requests`, eve, {
    customer_id: CUSTOMER_ID,
    level: "partner",
    modes: ["direct", "act_as"],
    reason: next(),
    ticket: next(),
    roles: [`strange-${n}`],
    accounts: [`strange-${n}`, next(100)],
  });
}
// Some are denied and some let in, so that the texts stand in every list.
const asked = (await api("GET", "/v1/organisations/marina-bay/requests?state=pending", customers[0])).items;
for (const [n, request] of asked.filter((r) => r.roles[0]?.startsWith("strange-")).entries()) {
  if (n % 3 === 0) await api("POST", `/v1/requests/${request.id}/deny`, customers[0], { reason: next(), message: next() });
  if (n % 3 !== 1) continue;
  const terms = { roles: request.roles, accounts: [request.roles[0]], modes: ["direct"], days: 7 };
  const { summary } = await api("POST", `/v1/requests/${request.id}/summary`, customers[0], terms);
  await api("POST", `/v1/requests/${request.id}/approve`, customers[0], { summary, terms });
}
// -- then every page
let ran = 0;
for (const script of [true, false]) {
  const windows = new Map();
  for (const line of pages) {
    const [path, who] = line;
    if (!windows.has(who)) {
      const page = await window(who, { width: script ? 1280 : 390, script });
      page.on("dialog", (dialog) => {
        ran++;
        dialog.dismiss();
      });
      windows.set(who, page);
    }
    const page = windows.get(who);
    await page.goto(COMITY + address(line));
    if (script && (await page.evaluate(() => window.__ran))) ran++;
    const foreign = await page.locator("main script, main svg[onload], main img[onerror], a[href^='javascript:']").count();
    assert.equal(foreign, 0, `${path}: what somebody wrote became an element`);
    if (!script) {
      const wide = await page.locator("html").evaluate((e) => e.scrollWidth - e.clientWidth);
      assert.ok(wide <= 0, `${path}: ${wide} px too wide with long words`);
    }
  }
  for (const page of windows.values()) await page.context().close();
}
await browser.close();
assert.equal(ran, 0);
console.log("nothing was executed");
