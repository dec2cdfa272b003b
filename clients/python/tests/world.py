"""The demo as a partner and a customer use it: a grant of its own for each test."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import httpx

ENV = Path(os.environ.get("COMITY_DEMO_ENV", "comity-demo/demo.env"))
DEMO = {
    name: value.strip("'")
    for name, value in (line.split("=", 1) for line in ENV.read_text().splitlines() if "=" in line)
}
HTTP = httpx.Client(base_url=DEMO["COMITY"], trust_env=False, timeout=20)


def call(bearer, method, path, body=None):
    answer = HTTP.request(method, path, headers={"authorization": f"Bearer {bearer}"}, json=body)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


@functools.cache
def sign_in(email):
    return call("none", "POST", "/v1/sign-in", {"email": email, "password": DEMO["PASSWORD"]})["token"]


@dataclass
class Stay:
    token: str
    grant: str
    session: str

    def revoke(self):
        call(sign_in("ana@marina-bay.example"), "POST", f"/v1/grants/{self.grant}/revoke")


def enter(mode="direct", kind="access_token"):
    """Tess of SailSupport inside Marina Bay, with the role `bookings`."""
    sam, ana = sign_in("sam@sailsupport.example"), sign_in("ana@marina-bay.example")
    question = {
        "customer_id": DEMO["CUSTOMER_ID"],
        "level": "partner",
        "modes": ["direct", "act_as"],
        "reason": "A test",
    }
    request = call(sam, "POST", "/v1/organisations/sailsupport/requests", question)["id"]
    terms = {"roles": ["bookings"], "days": 7, "jwt": mode != "act_as"}
    summary = call(ana, "POST", f"/v1/requests/{request}/summary", terms)["summary"]
    approved = call(ana, "POST", f"/v1/requests/{request}/approve", {"summary": summary, "terms": terms})
    grant = approved["grant"]
    call(sam, "PUT", f"/v1/grants/{grant}/assignments/{DEMO['TESS']}", {"roles": ["bookings"]})
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": sign_in("tess@sailsupport.example"),
        "audience": "https://api.boats.example",
        "resource": f"urn:comity:organisation:{DEMO['MARINA']}",
        "grant": grant,
        "mode": mode,
        "requested_token_type": f"urn:ietf:params:oauth:token-type:{kind}",
        "reason": "A test",
    }
    answer = HTTP.post("/oauth/token", data=form)
    assert answer.is_success, answer.text
    return Stay(answer.json()["access_token"], grant, answer.json()["session"])
