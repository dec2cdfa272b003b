// A little program over the generated types: it compiles only if they say what the API takes and gives.
import type { components, operations, paths } from "./openapi";

type Ok<O extends keyof operations, S extends keyof operations[O]["responses"]> = operations[O]["responses"][S];

const ask: components["schemas"]["Ask"] = {
  customer_id: "7K2MQ-4VXN0-8R3TD-W5YHC-1B",
  level: "partner",
  modes: ["direct", "view"],
  reason: "Winter storage",
};

function people(grant: Ok<"getGrant", 200>["content"]["application/json"]): number {
  return grant.state === "active" ? grant.people : 0;
}

function why(problem: Ok<"approve", 409>["content"]["application/problem+json"]): string {
  return `${problem.status} ${problem.code}: ${problem.detail}`;
}

function first(page: components["schemas"]["Page_Grant"]): components["schemas"]["GrantId"] | undefined {
  return page.items[0]?.id;
}

const side: NonNullable<paths["/v1/organisations/{organisation}/grants"]["get"]["parameters"]["query"]>["side"] = "given";
// @ts-expect-error: no such mode
const wrong: components["schemas"]["Mode"] = "sideways";

console.log(ask.level, people, why, first, side, wrong);
