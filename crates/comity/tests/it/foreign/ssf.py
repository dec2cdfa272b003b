"""A receiver of shared signals: discovery, a stream, push and poll, each token verified by PyJWT."""

import http.server
import os
import queue
import threading

import jwt
import requests

COMITY = os.environ["COMITY"]
AUDIENCE = "https://api.boats.example"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"
TYPE = "urn:ietf:params:oauth:token-type:access_token"
KEY = {"Authorization": "Bearer " + os.environ["DECIDE_KEY"]}
arrived = queue.Queue()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        arrived.put((self.headers, body))
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()

found = requests.get(COMITY + "/.well-known/ssf-configuration").json()
assert found["issuer"] == COMITY, found
keys = jwt.PyJWKClient(found["jwks_uri"])


def verified(token):
    assert jwt.get_unverified_header(token)["typ"] == "secevent+jwt"
    key = keys.get_signing_key_from_jwt(token)
    checks = {"algorithms": ["ES256"], "issuer": found["issuer"]}
    claims = jwt.decode(token, key, audience=AUDIENCE, **checks)
    head, body, signature = token.split(".")
    for forged, audience in [
        (f"{head}.{body[:-4]}{body[-4:][::-1]}.{signature}", AUDIENCE),
        (token, "https://other.example"),
    ]:
        try:
            jwt.decode(forged, key, audience=audience, **checks)
        except jwt.InvalidTokenError:
            continue
        raise SystemExit("a forged event was believed")
    return claims


def said(answer, status):
    assert answer.status_code == status, (answer.status_code, answer.text)
    return answer.json() if answer.content else None


url = f"http://127.0.0.1:{server.server_port}/events"
push = {"method": "urn:ietf:rfc:8935", "endpoint_url": url, "authorization_header": "Bearer mine"}
wanted = {"events_requested": [CAEP], "delivery": push}
stream = said(requests.post(found["configuration_endpoint"], json=wanted, headers=KEY), 201)
named = {"stream_id": stream["stream_id"]}


def verify(state):
    asked = {**named, "state": state}
    said(requests.post(found["verification_endpoint"], json=asked, headers=KEY), 204)


verify("is anybody there")
headers, token = arrived.get(timeout=30)
assert headers["authorization"] == "Bearer mine"
assert headers["content-type"] == "application/secevent+jwt"
claims = verified(token)
assert claims["events"] == {VERIFICATION: {"state": "is anybody there"}}, claims
print("pushed")

exchange = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token": os.environ["TESS_TOKEN"],
    "subject_token_type": TYPE,
    "audience": AUDIENCE,
    "resource": "urn:comity:organisation:" + os.environ["MARINA"],
}
entered = said(requests.post(COMITY + "/oauth/token", data=exchange), 200)
client = ("boats-api", os.environ["DECIDE_KEY"])
form = {"token": entered["access_token"]}
sid = said(requests.post(COMITY + "/oauth/introspect", data=form, auth=client), 200)["sid"]
ana = {"Authorization": "Bearer " + os.environ["ANA_TOKEN"]}
revoke = f"{COMITY}/v1/grants/{os.environ['GRANT']}/revoke"
said(requests.post(revoke, headers=ana), 200)
claims = verified(arrived.get(timeout=30)[1])
assert claims["sub_id"]["session"]["id"] == sid, claims
assert claims["sub_id"]["user"]["sub"] == os.environ["TESS"], claims
assert claims["events"][CAEP]["initiating_entity"] == "admin", claims
print("revoked")

poll = {**named, "delivery": {"method": "urn:ietf:rfc:8936"}}
polled = said(requests.patch(found["configuration_endpoint"], json=poll, headers=KEY), 200)
at = polled["delivery"]["endpoint_url"]
verify("and now")
# By Basic, as others' clients are set up; and it waits until there is something.
got = said(requests.post(at, json={"maxEvents": 5}, auth=client), 200)
((jti, token),) = got["sets"].items()
claims = verified(token)
assert claims["jti"] == jti and claims["events"][VERIFICATION]["state"] == "and now"
again = {"ack": [jti], "returnImmediately": True}
assert said(requests.post(at, json=again, headers=KEY), 200)["sets"] == {}
print("fetched")
print("PyJWT is through")
