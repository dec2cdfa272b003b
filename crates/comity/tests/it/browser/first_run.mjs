// The link of a first start, as whoever reads it at the terminal uses it.

const { LINK } = process.env;
const PASSPHRASE = "a boat for everyone here";
const pages = [["/console/first-run", null]];
const others = ["nothing"];
const address = ([path]) => path;

/** Fills the form in, by its labels. */
async function setUp(page) {
  await page.getByLabel("Name", { exact: true }).fill("Marina Bay");
  await page.getByLabel("Name of the Admin").fill("Ana Alvarez");
  await page.getByLabel("E-mail address").fill("ana@marina.example");
  await page.getByLabel("Password").fill(PASSPHRASE);
  await page.getByRole("button", { name: "Set up" }).click();
}
// -- after every page was looked at
const page = await window(null);
const asked = [];
page.on("request", (request) => asked.push(request.url()));
await page.goto(LINK);
const code = LINK.split("#")[1];
// The script takes the code into its field and off the address.
assert.equal(await page.getByLabel("Code of the link").inputValue(), code);
assert.equal(page.url(), `${COMITY}/console/first-run`);
await page.getByLabel("Code of the link").fill(`${code}0`);
await setUp(page);
await page.getByText("This code is unknown, used or out of date").waitFor();
assert.equal(await page.getByLabel("E-mail address").inputValue(), "ana@marina.example");
await page.getByLabel("Code of the link").fill(code);
await setUp(page);
await page.getByRole("heading", { name: "Marina Bay is set up" }).waitFor();
for (const key of ["Key for operate", "Key for provision"])
  assert.match(await page.getByLabel(key).inputValue(), /^cmt_key_/);
if (process.env.PICTURES) await page.screenshot({ path: `${process.env.PICTURES}/first-run-done-1280-light.png`, fullPage: true });
const { AxeBuilder: Axe } = await import("@axe-core/playwright");
assert.deepEqual((await new Axe({ page }).analyze()).violations, []);
assert.ok(asked.every((url) => !url.includes("cmt_first_")), "no request names the code");
const operate = await page.getByLabel("Key for operate").inputValue();
await page.getByRole("link", { name: "Sign in as ana@marina.example" }).click();
await page.getByLabel("E-mail address").fill("ana@marina.example");
await page.getByLabel("Password").fill(PASSPHRASE);
await page.getByRole("button", { name: "Sign in" }).click();
await page.getByRole("link", { name: "Roles", exact: true }).waitFor();
await page.goto(`${COMITY}/console/operator`);
await page.getByLabel("Operate key").fill(operate);
await page.getByRole("button", { name: "Sign in" }).click();
await page.getByRole("heading", { name: "This installation" }).waitFor();
assert.equal((await page.goto(LINK)).status(), 404);
await browser.close();
console.log("set up");
