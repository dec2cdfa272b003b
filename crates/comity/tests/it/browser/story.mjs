// The first story, from asking to the history: by what can be read on the pages alone, each person in
// a browser of their own. The only addresses are those that the demo prints, one a person.

const { SCRIPT, CUSTOMER_ID } = process.env;
const scripted = SCRIPT === "on";
// Without script one button more shows what is given.
const MOST = scripted ? 25 : 26;

let actions = 0;
const done = [];
/** A click, a filled field or a choice. */
async function act(what, doing) {
  actions += 1;
  done.push(`${String(actions).padStart(2)} ${what}`);
  await doing;
}
const click = (page, role, name) => act(`${role} ${name}`, page.getByRole(role, { name, exact: true }).click());
const fill = (page, label, text) => act(`fill ${label}`, page.getByRole("textbox", { name: label, exact: true }).fill(text));
const tick = (page, label) => act(`tick ${label}`, page.getByRole("checkbox", { name: label }).check());
const says = (page, text) => page.getByText(text).first().waitFor();
const heading = (page, name) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor();

/** Somebody, signed in by the demo's link. */
async function be(name, address) {
  const page = await window(null, { script: scripted });
  page.on("pageerror", (error) => assert.fail(error));
  await page.goto(`${COMITY}/console/demo/${address}`);
  await click(page, "button", `Sign in as ${name}`);
  return page;
}

async function story() {
  // A partner asks.
  const sam = await be("Sam Okafor", "sam@sailsupport.example");
  await click(sam, "link", "Ask for access");
  await fill(sam, "Customer ID", CUSTOMER_ID.toLowerCase());
  await tick(sam, /^Act as/);
  await fill(sam, "Reason", "Double bookings since the calendar update");
  await click(sam, "button", "Ask");
  await says(sam, /Waits for the customer/);

  // The customer reads it, gives one of three roles, and is shown in sentences what that means.
  const ana = await be("Ana Duarte", "ana@marina-bay.example");
  await heading(ana, "Partner Access");
  await ana.getByRole("link", { name: "Pending Requests (3)" }).waitFor();
  const asked = ana.getByRole("row", { name: /SailSupport/ });
  for (const told of ["Sam Okafor", "sam@sailsupport.example", "Asks to act as you", "Double bookings since the calendar update"])
    await asked.getByText(told).waitFor();
  await click(ana, "link", "Approve SailSupport");
  await heading(ana, "Approve SailSupport?");
  assert.equal(await ana.getByRole("button", { name: "Approve", exact: true }).count(), 0, "nothing was chosen yet");
  await tick(ana, /^Bookings/);
  if (!scripted) await click(ana, "button", "Show what this gives");
  await says(ana, "With this role: Bookings (boats:read, bookings:read, bookings:write).");
  await says(ana, "They may act as Marina Bay Rentals itself, with a reason each time.");
  await click(ana, "button", "Approve");
  await says(ana, /^Approved\. People of SailSupport may enter until/);

  // The partner's Admin sends a colleague.
  await click(sam, "link", "Access received");
  await click(sam, "link", "Let somebody into Marina Bay Rentals");
  await heading(sam, "Let somebody into Marina Bay Rentals");
  await act("choose Person", sam.getByLabel("Person").selectOption({ label: "Tess Vermeer (tess@sailsupport.example)" }));
  await click(sam, "button", "Let in");
  await says(sam, /Tess Vermeer/);

  // She goes in as herself by one click, comes home, and goes in as the customer with a reason.
  const tess = await be("Tess Vermeer", "tess@sailsupport.example");
  await heading(tess, "Customers I may enter");
  await click(tess, "button", "Enter: Marina Bay Rentals");
  const banner = tess.getByRole("region", { name: "Inside Marina Bay Rentals" });
  await banner.getByText("as Tess Vermeer · Direct").waitFor();
  await click(tess, "button", "Return home");
  await says(tess, "You are home. Your stay in Marina Bay Rentals has ended.");
  await click(tess, "link", "Act as: Marina Bay Rentals");
  await fill(tess, "Reason", "Booking 4711 exists twice");
  await click(tess, "button", "Enter");
  await banner.getByText("as Marina Bay Rentals, really Tess Vermeer · Act as").waitFor();
  const left = banner.getByText(/^(59|60) min \d\d s$/);
  const before = await left.textContent();
  if (scripted) await tess.waitForFunction((was) => !document.body.innerText.includes(was), before);

  // The customer sees it, without a click where there is script; reads on, and revokes.
  const row = ana.getByRole("row", { name: /SailSupport/ });
  if (scripted) await row.getByText("1 inside now").waitFor();
  await click(ana, "link", "Impersonation History");
  const columns = await ana.getByRole("columnheader").allTextContents();
  assert.deepEqual(columns, ["Partner", "Started", "Duration", "API Calls", "Status"]);
  const stay = ana.getByRole("row", { name: /Tess Vermeer/ }).first();
  for (const told of ["tess@sailsupport.example", "Active", "Act as"]) await stay.getByText(told).waitFor();
  await act("link of when it started", stay.getByRole("link").click());
  await heading(ana, "Tess Vermeer in Marina Bay Rentals");
  await says(ana, "Booking 4711 exists twice");
  await says(ana, "API Calls: 0");
  await click(ana, "link", "Revoke the access of SailSupport");
  await heading(ana, "Revoke the access of SailSupport?");
  await says(ana, "1 session ends at once, in the middle of whatever is being done.");
  await click(ana, "button", "Revoke");
  await says(ana, "Revoked. SailSupport is out: 1 session has ended.");

  // She is told why, in plain words, and is home: nobody signs in anew.
  const why = "Marina Bay Rentals revoked the access of your organisation.";
  if (scripted) {
    await heading(tess, "Your stay in Marina Bay Rentals is over");
    await says(tess, why);
    await click(tess, "link", "Customers I may enter");
  } else {
    await click(tess, "button", "Return home");
    await says(tess, why);
  }
  await heading(tess, "Customers I may enter");
  assert.equal(await banner.count(), 0);
  assert.equal(await tess.getByText("Marina Bay Rentals", { exact: true }).filter({ visible: true }).count(), 0, "it is still offered");

  // What was done stands in the history, where the customer is already.
  await heading(ana, "Partner Access");
  await stay.getByText("Ended").waitFor();
  assert.equal(await ana.getByRole("row", { name: /Tess Vermeer/ }).count(), 2);
}

try {
  await story();
} catch (error) {
  console.error(done.join("\n"));
  throw error;
}
await browser.close();
assert.ok(actions <= MOST, `${actions} actions:\n${done.join("\n")}`);
console.log(`${done.join("\n")}\n${actions} actions`);
console.log("the story is through");
