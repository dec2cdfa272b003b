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
const grant = await first("/v1/organisations/marina-bay/grants?state=active", ana);
const stay = await first("/v1/organisations/marina-bay/sessions", ana);

// [path as in the console's table, who sees it, what stands for its placeholders, status]
const pages = [
  ["/console/sign-in", null],
  ["/console/enrol", null],
  ["/console/step-up", ANA],
  ["/console/components", ANA],
  ["/console/o/{organisation}/inbox", ANA, { organisation: marina }],
  ["/console/o/{organisation}/access/pending", ANA, { organisation: marina }],
  ["/console/o/{organisation}/requests/{request}", ANA, { organisation: marina, request: request.id }],
  ["/console/o/{organisation}/requests/{request}/deny", ANA, { organisation: marina, request: request.id }],
  ["/console/o/{organisation}/roles", ANA, { organisation: marina }],
  ["/console/o/{organisation}/roles/new", ANA, { organisation: marina }],
  ["/console/o/{organisation}/roles/{role}/version", ANA, { organisation: marina, role: "bookings" }],
  ["/console/o/{organisation}/roles/{role}/delete", ANA, { organisation: marina, role: "bookings" }],
];
// Leads elsewhere, or is no page.
const others = ["/console", "/console/o/{organisation}", "/console/assets/{file}", "/console/o/{organisation}/access/live"];


/** The address of a line of the table. */
function address([path, , named = {}, query = ""]) {
  return path.replace(/\{(\w+)\}/g, (_, name) => named[name] ?? assert.fail(`${path}: what is ${name}?`)) + query;
}
