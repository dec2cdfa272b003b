// Both sides of a partnership, by visible labels: a customer offers, the partner accepts, puts three
// people on it with different roles, and one of them switches tenant and works.

const { SCRIPT } = process.env;
const scripted = SCRIPT === "on";
const MOST = 25;

// Told apart from what the partner does: the offer itself, by the same labels.
let actions = 0;
const done = [];
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

async function be(name, address) {
  const page = await window(null, { script: scripted });
  page.on("pageerror", (error) => assert.fail(error));
  await page.goto(`${COMITY}/console/demo/${address}`);
  await click(page, "button", `Sign in as ${name}`);
  return page;
}

async function offered() {
  const pia = await be("Pia Lindholm", "pia@harbor-help.example");
  await click(pia, "link", "Our requests");
  await click(pia, "link", "Partner ID");
  await click(pia, "button", "Make a Partner ID");
  await says(pia, /^This Partner ID is new/);
  const code = await pia.getByRole("textbox", { name: "Partner ID" }).inputValue();
  const frida = await be("Frida Berg", "frida@fjord-charter.example");
  await click(frida, "link", "Grant Access");
  await click(frida, "link", "Offer access");
  await fill(frida, "Partner ID", code.toLowerCase());
  await click(frida, "button", "Continue");
  await heading(frida, "Offer Harbor Help access");
  for (const role of [/^Bookings/, /^Fleet/, /^Reports/]) await tick(frida, role);
  await act("choose All accounts", frida.getByRole("radio", { name: /^All accounts/ }).check());
  await fill(frida, "Reason", "The winter season");
  if (!scripted) await click(frida, "button", "Show what this gives");
  await says(frida, "People of Harbor Help may enter Fjord Charter, once Harbor Help accepts.");
  await click(frida, "button", "Offer access");
  await says(frida, /^Offered to Harbor Help\. Nothing is given before/);
  return frida;
}

async function answered(frida) {
  const pia = await be("Pia Lindholm", "pia@harbor-help.example");
  await click(pia, "link", "Access received");
  await click(pia, "link", "Look at the offer of Fjord Charter");
  await heading(pia, "Fjord Charter offers access");
  await says(pia, "The winter season");
  await click(pia, "button", "Accept");
  await says(pia, /^Accepted\./);
  await click(pia, "link", "Manage access");
  await heading(pia, "Manage access to Fjord Charter");
  for (const name of [/^Pia Lindholm/, /^Quentin Moreau/, /^Ruth Adeyemi/]) await tick(pia, name);
  await click(pia, "button", "Give access to those who are ticked");
  // Nobody has a role yet: saving names them, and nothing is lost.
  await click(pia, "button", "Save");
  await says(pia, /Everybody needs at least one role; without one: Pia Lindholm, Quentin Moreau, Ruth Adeyemi/);
  for (const [name, role] of [["Pia Lindholm", "Fleet"], ["Quentin Moreau", "Bookings"], ["Ruth Adeyemi", "Reports"]])
    await act(`choose ${role} for ${name}`, pia.getByLabel(`Add a role to ${name}`).selectOption({ label: role }));
  await click(pia, "button", "Save");
  await says(pia, "Saved. 3 people may go into Fjord Charter.");
  for (const [name, role] of [["Pia Lindholm", "Fleet"], ["Quentin Moreau", "Bookings"], ["Ruth Adeyemi", "Reports"]])
    await pia.getByRole("row", { name: new RegExp(name) }).getByText(role, { exact: true }).waitFor();

  const ruth = await be("Ruth Adeyemi", "ruth@harbor-help.example");
  await click(ruth, "button", "Enter: Fjord Charter");
  const banner = ruth.getByRole("region", { name: "Inside Fjord Charter" });
  await banner.getByText("as Ruth Adeyemi · Direct").waitFor();
  await click(ruth, "button", "Return home");
  await says(ruth, "You are home. Your stay in Fjord Charter has ended.");

  // The customer sees what came of it.
  await frida.reload();
  await says(frida, "3 assigned");
}

// The dual list by keyboard alone: one is taken off again.
async function byKeyboard() {
  const pia = await window("pia@harbor-help.example", { script: scripted });
  await pia.getByRole("link", { name: "Access received" }).first().click();
  await pia.getByRole("row", { name: /Fjord Charter/ }).getByRole("link", { name: /Who may go/ }).click();
  await pia.getByRole("link", { name: "Manage access" }).focus();
  await pia.keyboard.press("Enter");
  await heading(pia, "Manage access to Fjord Charter");
  const reach = async (locator) => {
    for (let n = 0; n < 60; n++) {
      if (await locator.evaluate((el) => el === document.activeElement)) return;
      await pia.keyboard.press("Tab");
    }
    assert.fail(`Tab does not lead to ${locator}`);
  };
  await reach(pia.getByRole("checkbox", { name: /^Quentin Moreau/ }));
  await pia.keyboard.press("Space");
  const away = pia.getByRole("button", { name: "Take access from those who are ticked" });
  for (let n = 0; n < 60 && !(await away.evaluate((el) => el === document.activeElement)); n++)
    await pia.keyboard.press("Shift+Tab");
  await pia.keyboard.press("Enter");
  await pia.getByRole("group", { name: "Users without access" }).getByText("Quentin Moreau").waitFor();
  await reach(pia.getByRole("button", { name: "Save" }));
  await pia.keyboard.press("Enter");
  await says(pia, "Saved. 2 people may go into Fjord Charter.");
}

try {
  const frida = await offered();
  const before = actions;
  await answered(frida);
  actions -= before;
  await byKeyboard();
} catch (error) {
  console.error(done.join("\n"));
  throw error;
}
await browser.close();
assert.ok(actions <= MOST, `${actions} actions:\n${done.join("\n")}`);
console.log(`${done.join("\n")}\n${actions} actions of the partner`);
console.log("both sides are through");
