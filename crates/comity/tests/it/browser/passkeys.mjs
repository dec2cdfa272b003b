// A passkey of a virtual authenticator: made, used to sign in and to prove it anew, renamed, removed.

const who = "ana@marina-bay.example";
const context = await browser.newContext();
const page = await context.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(String(error)));
page.on("console", (said) => said.type() === "error" && errors.push(said.text()));
const devtools = await context.newCDPSession(page);
await devtools.send("WebAuthn.enable");
const options = { protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true, isUserVerified: true };
const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", { options });
const heading = (name) => page.getByRole("heading", { name, level: 1 }).waitFor();
const press = (name) => page.getByRole("button", { name, exact: true }).click();
const follow = (name) => page.getByRole("link", { name, exact: true }).click();

await page.goto(`${COMITY}/console/me`);
await heading("Sign in");
await page.getByLabel("E-mail address").fill(who);
await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
await press("Sign in");
await heading("Sign-in and security");

await follow("Add a passkey");
await heading("Add a passkey");
await page.getByRole("textbox", { name: "Name" }).fill("Blue key");
await press("Add a passkey");
await page.getByText('The passkey "Blue key" is added.').waitFor();
await page.getByRole("cell", { name: "Blue key", exact: true }).waitFor();

// From now on a password alone changes nothing of it. The same authenticator holds one already.
await follow("Add a passkey");
await heading("Is it still you?");
await press("Use a passkey");
await heading("Add a passkey");
await page.getByRole("textbox", { name: "Name" }).fill("Once more");
await press("Add a passkey");
await page.getByText("This device holds a passkey of yours already.").waitFor();

await page.getByText("Ana Duarte", { exact: true }).first().click();
await press("Sign out");
await heading("Sign in");
await page.goto(`${COMITY}/console/me`);
await press("Sign in with a passkey");
await heading("Sign-in and security");
await page.getByRole("cell", { name: "Passkey", exact: true }).waitFor();

// Proving it anew by the passkey alone.
await page.goto(`${COMITY}/console/step-up?back=/console/me`);
await press("Use a passkey");
await heading("Sign-in and security");

// Whoever refuses to verify is told so, and is where they were.
await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
await page.goto(`${COMITY}/console/step-up?back=/console/me`);
await press("Use a passkey");
await page.getByText("It was cancelled, or took too long. Try once more.").waitFor();
await devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
await page.goto(`${COMITY}/console/me`);

await follow("Rename Blue key");
await page.getByRole("textbox", { name: "Name" }).fill("Green key");
await press("Save");
await page.getByText('It is called "Green key" now.').waitFor();
await follow("Remove Green key");
await press("Remove");
await page.getByText('The passkey "Green key" is removed.').waitFor();

// It opens nothing any more.
await page.getByText("Ana Duarte", { exact: true }).first().click();
await press("Sign out");
await heading("Sign in");
await press("Sign in with a passkey");
await page.getByText("That passkey is not known here").waitFor();
const harmless = errors.filter((error) => !error.includes("401"));
if (harmless.length) throw new Error(harmless.join("\n"));
await browser.close();
console.log("the passkey did what it should");
