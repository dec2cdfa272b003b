"""Calls the real server through the client that openapi-python-client made of the document.

Arguments: the address, an operate key, a provision key, the identifier of an organisation.
"""

import sys

from comity_api_client import AuthenticatedClient
from comity_api_client.api.platform import get_policy, list_levels
from comity_api_client.api.provisioning import get_organisation, put_unit
from comity_api_client.models import Organisation, Policy, Problem, PutUnit, Unit

address, operate, provision, organisation = sys.argv[1:]

operator = AuthenticatedClient(base_url=address, token=operate)
policy = get_policy.sync(client=operator)
assert isinstance(policy, Policy), policy
levels = {level.code for level in list_levels.sync(client=operator).items}
assert {"partner", "referral"} <= levels, levels

builder = AuthenticatedClient(base_url=address, token=provision)
shown = get_organisation.sync(organisation, client=builder)
assert isinstance(shown, Organisation) and shown.id == organisation, shown
made = put_unit.sync_detailed(organisation, "generated", client=builder, body=PutUnit(name="Generated"))
assert made.status_code == 201 and isinstance(made.parsed, Unit), made

refused = get_policy.sync(client=builder)
assert isinstance(refused, Problem) and refused.code == "forbidden", refused
print("ok")
