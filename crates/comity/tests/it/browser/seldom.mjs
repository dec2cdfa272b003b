// Pages that only bad days have: after a restore, and with something halted.

const ANA = "ana@marina-bay.example";
const ana = await token(ANA);
const marina = (await api("GET", "/v1/organisations/marina-bay", ana)).id;
const waiting = (await api("GET", "/v1/organisations/marina-bay/grants?state=unconfirmed", ana)).items;
const halts = (await api("GET", "/v1/platform/halts", process.env.OPERATE_KEY)).items;
const customer = { organisation: marina, grant: waiting[0].id };

const pages = [
  ["/console/o/{organisation}/access/active", ANA, customer],
  ["/console/o/{organisation}/grants/{grant}/confirm", ANA, customer],
  ["/console/operator", OPERATOR],
  ["/console/operator/halts/{halt}/lift", OPERATOR, { halt: halts[0].id }],
];
const others = ["nothing"];

/** The address of a line of the table. */
function address([path, , named = {}]) {
  return path.replace(/\{(\w+)\}/g, (_, name) => named[name] ?? assert.fail(`${path}: what is ${name}?`));
}
