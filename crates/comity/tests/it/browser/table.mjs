// Every page of the console's table, with somebody who sees it.

const ANA = "ana@marina-bay.example";
const PIA = "pia@harbor-help.example";

// What stands for the placeholders: read from the demo by the API.
const ana = await token(ANA);
const pia = await token(PIA);
const first = async (path, who) => (await api("GET", path, who)).items[0];
const marina = (await api("GET", "/v1/organisations/marina-bay", ana)).id;
const harbor = (await api("GET", "/v1/organisations/harbor-help", pia)).id;
const request = await first("/v1/organisations/marina-bay/requests?state=pending", ana);
const grants = (await api("GET", "/v1/organisations/marina-bay/grants?state=active", ana)).items;
const grant = grants.find((g) => g.partner.id === harbor);

const session = (await api("GET", "/v1/organisations/marina-bay/sessions?status=active", ana)).items[0];
const assigned = (await api("GET", `/v1/grants/${grant.id}/assignments`, pia)).items[0].person;
const role = await first("/v1/organisations/marina-bay/roles", ana);
const inside = session.partner.email;
// A request of Harbor Help that waits.
const wish = { customer_id: process.env.CUSTOMER_ID, level: "partner", modes: ["direct"], reason: "Spare keys" };
const sent = await api("POST", "/v1/organisations/harbor-help/requests", pia, wish);
// Somebody whom no other page needs is locked out.
const asking = (await api("GET", "/v1/organisations/marina-bay/requests", ana)).items;
const insurer = asking.find((r) => r.partner.company === "North Insure").partner.organisation;
const lock = await api("POST", "/v1/organisations/marina-bay/locks", ana, { organisation: insurer, reason: "A test" });
// Marina Bay offers Harbor Help something that nobody has answered.
const offering = { partner: harbor, terms: { roles: ["bookings"], accounts: "all" } };
const seen = await api("POST", "/v1/organisations/marina-bay/offers/summary", ana, offering);
const offer = await api("POST", "/v1/organisations/marina-bay/offers", ana, { ...offering, summary: seen.summary, reason: "Keys" });
// Whoever is on the grant was a member of Marina Bay as well.
await api("PUT", "/v1/organisations/marina-bay/members/was-ours", process.env.PROVISION_KEY,
  { name: assigned.name, email: assigned.email, email_verified: true });
const customer = { organisation: marina, request: request.id, grant: grant.id, session: session.id, role: role.id };
const provider = { organisation: harbor, request: sent.id, grant: grant.id, person: assigned.id };

// [path as in the console's table, who sees it, what stands for its placeholders, what stands behind]
const pages = [
  ["/console/sign-in", null],
  ["/console/enrol", null],
  ["/console/operator/sign-in", null],
  ["/console/operator", OPERATOR],
  ["/console/operator/organisations/{organisation}/standing", OPERATOR, customer, "?standing=suspended"],
  ["/console/demo/{email}", null, { email: ANA }],
  ["/console/step-up", ANA],
  ["/console/components", ANA],
  ["/console/o/{organisation}/inbox", ANA, customer],
  ["/console/o/{organisation}/access/pending", ANA, customer],
  ["/console/o/{organisation}/access/active", ANA, customer],
  ["/console/o/{organisation}/access/rotate", ANA, customer],
  ["/console/o/{organisation}/access/history", ANA, customer],
  ["/console/o/{organisation}/access/settings", ANA, customer],
  ["/console/o/{organisation}/access/replaced", ANA, customer],
  ["/console/o/{organisation}/access/replaced/{person}/restore", ANA, { ...customer, person: assigned.id }],
  ["/console/o/{organisation}/access/block", ANA, customer, `?partner=${harbor}`],
  ["/console/o/{organisation}/access/give", ANA, customer],
  ["/console/o/{organisation}/access/give/new", ANA, customer],
  ["/console/o/{organisation}/access/give/terms", ANA, customer, `?to=${harbor}&chosen=yes&level=partner&roles=bookings&which=all&modes=direct&days=30`],
  ["/console/o/{organisation}/offers/{request}/withdraw", ANA, { ...customer, request: offer.id }],
  ["/console/o/{organisation}/grants/{grant}/amend", ANA, customer],
  ["/console/o/{organisation}/requests/{request}", ANA, customer],
  ["/console/o/{organisation}/requests/{request}/approve", ANA, customer],
  ["/console/o/{organisation}/requests/{request}/deny", ANA, customer],
  ["/console/o/{organisation}/grants/{grant}", ANA, customer],
  ["/console/o/{organisation}/grants/{grant}/revoke", ANA, customer],
  ["/console/o/{organisation}/grants/{grant}/narrow", ANA, customer],
  ["/console/o/{organisation}/grants/{grant}/sessions/{session}/end", ANA, customer],
  ["/console/o/{organisation}/locks/new", ANA, customer, `?organisation=${harbor}`],
  ["/console/o/{organisation}/locks/{lock}/unlock", ANA, { ...customer, lock: lock.id }],
  ["/console/o/{organisation}/sessions/{session}", ANA, customer],
  ["/console/o/{organisation}/roles", ANA, customer],
  ["/console/o/{organisation}/roles/new", ANA, customer],
  ["/console/o/{organisation}/roles/{role}/version", ANA, customer],
  ["/console/o/{organisation}/roles/{role}/delete", ANA, customer],
  ["/console/o/{organisation}/asking", PIA, provider],
  ["/console/o/{organisation}/asking/new", PIA, provider],
  ["/console/o/{organisation}/asking/{request}/cancel", PIA, provider],
  ["/console/o/{organisation}/partner-id", PIA, provider],
  ["/console/o/{organisation}/offered/{request}", PIA, { ...provider, request: offer.id }],
  ["/console/o/{organisation}/offered/{request}/decline", PIA, { ...provider, request: offer.id }],
  ["/console/o/{organisation}/grants-received/{grant}/manage", PIA, provider],
  ["/console/o/{organisation}/grants-received", PIA, provider],
  ["/console/o/{organisation}/grants-received/{grant}", PIA, provider],
  ["/console/o/{organisation}/grants-received/{grant}/give-up", PIA, provider],
  ["/console/o/{organisation}/grants-received/{grant}/people/new", PIA, provider],
  ["/console/o/{organisation}/grants-received/{grant}/people/{person}", PIA, provider],
  ["/console/o/{organisation}/grants-received/{grant}/people/{person}/remove", PIA, provider],
  ["/console/me", ANA],
  ["/console/me/password", ANA],
  ["/console/me/codes", ANA],
  ["/console/me/codes/remove", ANA],
  ["/console/me/recovery-codes", ANA],
  ["/console/me/passkeys/new", ANA],
  ["/console/me/sign-out-everywhere", ANA],
  ["/console/tenants", inside],
  ["/console/tenants/{grant}/enter", inside, customer, "?mode=act_as"],
  ["/console/stay/{session}", inside, customer],
];
// Lead elsewhere, or are no pages.
const others = [
  "/console",
  "/console/o/{organisation}",
  "/console/assets/{file}",
  "/console/o/{organisation}/access/live",
  "/console/stay/{session}/live",
  "/console/o/{organisation}/access/history.csv",
  "/console/o/{organisation}/access/history.jsonl",
  "/console/me/passkeys/{passkey}/rename",
  "/console/me/passkeys/{passkey}/remove",
];

/** The address of a line of the table. */
function address([path, , named = {}, query = ""]) {
  return path.replace(/\{(\w+)\}/g, (_, name) => named[name] ?? assert.fail(`${path}: what is ${name}?`)) + query;
}
