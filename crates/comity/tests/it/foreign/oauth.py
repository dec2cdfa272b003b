"""Authlib as a product's service: discovery, exchange, introspection, JWT, revocation, and each way
in which a client proves itself. Nothing of it knows Comity."""

import os

import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import ECKey

COMITY = os.environ["COMITY"]
AUDIENCE = "https://api.boats.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPE = "urn:ietf:params:oauth:token-type:"

found = requests.get(get_well_known_url(COMITY, external=True)).json()
metadata = AuthorizationServerMetadata(found)
# Authlib asks for https everywhere, as it must; on loopback there is none.
for name in metadata.REGISTRY_KEYS:
    try:
        getattr(metadata, f"validate_{name}", lambda: None)()
    except ValueError as error:
        assert "https" in str(error), error
assert metadata["issuer"] == COMITY
assert EXCHANGE in metadata["grant_types_supported"]

exchange = {
    "grant_type": EXCHANGE,
    "subject_token": os.environ["TESS_TOKEN"],
    "subject_token_type": TYPE + "access_token",
    "audience": AUDIENCE,
    "resource": "urn:comity:organisation:" + os.environ["MARINA"],
}

# A person's own app is a public client.
public = OAuth2Session("boats-api", token_endpoint_auth_method="none")
opaque = public.fetch_token(metadata["token_endpoint"], **exchange)
assert opaque["issued_token_type"] == TYPE + "access_token", opaque
signed = public.fetch_token(
    metadata["token_endpoint"], **exchange, requested_token_type=TYPE + "jwt"
)
narrow = public.fetch_token(metadata["token_endpoint"], **exchange, scope="boats:read")
assert narrow["scope"] == "boats:read"


# The product checks the signed one without asking.
class Validator(JWTBearerTokenValidator):
    def get_jwks(self):
        return requests.get(metadata["jwks_uri"]).json()


validator = Validator(issuer=COMITY, resource_server=AUDIENCE)
claims = validator.authenticate_token(signed["access_token"])
validator.validate_token(claims, ["boats:read"], None)
assert claims["act"]["sub"] == os.environ["TESS"], claims

# Each way to prove oneself, for introspection and revocation.
key = ECKey.generate_key("P-256")
keys = {"keys": [key.as_dict(private=False)]}
registered = requests.put(
    f"{COMITY}/v1/platform/applications/boats-api/client-keys",
    json=keys,
    headers={"Authorization": "Bearer " + os.environ["OPERATE_KEY"]},
)
assert registered.status_code == 200, registered.text
sessions = {}
for method in ["client_secret_basic", "client_secret_post"]:
    sessions[method] = OAuth2Session(
        "boats-api", os.environ["DECIDE_KEY"],
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
    )
sessions["private_key_jwt"] = OAuth2Session(
    "boats-api",
    key,
    token_endpoint_auth_method="private_key_jwt",
    revocation_endpoint_auth_method="private_key_jwt",
)
sessions["private_key_jwt"].register_client_auth_method(
    PrivateKeyJWT(metadata["token_endpoint"], alg="ES256")
)
for method, session in sessions.items():
    assert method in metadata["introspection_endpoint_auth_methods_supported"]
    ask = lambda token: session.introspect_token(
        metadata["introspection_endpoint"], token=token
    ).json()
    for token in [opaque["access_token"], signed["access_token"]]:
        told = ask(token)
        assert told["active"] and told["aud"] == AUDIENCE, (method, told)
        assert told["act"] == {"sub": os.environ["TESS"]}, told
    own = session.fetch_token(metadata["token_endpoint"], **exchange)
    assert ask(own["access_token"])["active"]
    gone = session.revoke_token(metadata["revocation_endpoint"], token=own["access_token"])
    assert gone.status_code == 200, (method, gone.text)
    assert ask(own["access_token"]) == {"active": False}
    print(method, "is understood")

# By possession alone; the signed sister of the same session is dead with it.
for token in [signed, narrow, opaque]:
    gone = public.revoke_token(
        metadata["revocation_endpoint"],
        token=token["access_token"],
        token_type_hint="access_token",
    )
    assert gone.status_code == 200, gone.text
    told = sessions["client_secret_basic"].introspect_token(
        metadata["introspection_endpoint"], token=token["access_token"]
    )
    assert told.json() == {"active": False}, told.text
print("Authlib is through")
