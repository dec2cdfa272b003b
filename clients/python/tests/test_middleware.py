"""The middleware and the dependency, in front of the real server and of one that is broken."""

import asyncio
import base64
import json
import re
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Header, Request
from fastapi.testclient import TestClient
from stub import TABLE, Stub, answerer
from world import DEMO, enter

from comity_client import AsyncComity, Comity, Decision, Question, TokenRefused, Verifier
from comity_client.starlette import ComityGuard, answer_refusals, guarded, partner, partner_or_none

PERMISSIONS = {"GET": "bookings:read", "POST": "bookings:write", "DELETE": "maintenance:write"}
METHODS = ["GET", "POST", "DELETE", "PATCH"]


def question(request):
    if request.url.path == "/throws":
        raise KeyError("the builder's own fault")
    account = re.fullmatch(r"/accounts/([a-z0-9-]+)", request.url.path)
    permission = PERMISSIONS.get(request.scope["method"])
    return Question(permission, account=account[1]) if account and permission else None


async def later(request):
    return question(request)


def seen(request: Request, x_partner_actor: Annotated[str | None, Header()] = None):
    decision = partner_or_none(request)
    if decision:
        assert partner(request) is decision
    else:
        with pytest.raises(RuntimeError):
            partner(request)
    headers = [[n.decode(), v.decode()] for n, v in request.scope["headers"]]
    found = {
        "handled": True,
        "lie": x_partner_actor or request.headers.get("x-partner-actor"),
        "raw": headers,
    }
    return found | ({"actor": decision.actor.id, "mode": decision.mode} if decision else {})


def by_middleware(comity, **options):
    app = FastAPI()
    app.add_middleware(ComityGuard, comity=comity, question=question, **options)
    app.add_api_route("/{path:path}", seen, methods=METHODS)
    return app


def by_dependency(comity, **options):
    app = FastAPI()
    answer_refusals(app)
    guard = guarded(comity, later, **options)

    def handler(request: Request, decision: Annotated[Decision | None, Depends(guard)], found=Depends(seen)):  # noqa: B008
        assert partner_or_none(request) == decision
        return found

    app.add_api_route("/{path:path}", handler, methods=METHODS)
    return app


WAYS = pytest.mark.parametrize("made", [by_middleware, by_dependency])


class App:
    def __init__(self, made, url=None, **options):
        comity = AsyncComity(url or DEMO["COMITY"], DEMO["DECIDE_KEY"], timeout=1.0)
        self.client = TestClient(made(comity, **options))

    def __enter__(self):
        self.client.__enter__()
        return self

    def __exit__(self, *_):
        self.client.__exit__(None, None, None)

    def get(self, path, authorization=None, method="GET", headers=None):
        headers = [
            *(headers or []),
            *([("authorization", authorization)] if authorization is not None else []),
        ]
        answer = self.client.request(method, path, headers=headers)
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.json()["status"] == answer.status_code
        assert (answer.status_code == 200) == (answer.json().get("handled") is True)
        return answer

    def outcome(self, *arguments, **more):
        answer = self.get(*arguments, **more)
        return answer.status_code, answer.json().get("code")


@WAYS
def test_what_comity_says_is_done_and_a_revoke_refuses_the_next_call(made):
    stay = enter("act_as")
    bearer = f"Bearer {stay.token}"
    with App(made) as app:
        lies = [
            ("X-Partner-Actor", "per_evil"),
            ("x_partner_actor", "per_evil"),
            ("X-Partner-Actor", "per_evil"),
        ]
        yes = app.get("/accounts/pier-1", bearer, headers=lies).json()
        assert (yes["actor"], yes["mode"], yes["lie"]) == (DEMO["TESS"], "act_as", None)
        assert "per_evil" not in json.dumps(yes)
        assert app.outcome("/accounts/pier-1", f"bearer  {stay.token} ", "POST") == (200, None)
        assert app.outcome("/accounts/pier-1", bearer, "DELETE") == (403, "no_role")
        assert app.outcome("/accounts/elsewhere", bearer) == (403, "wrong_resource")
        assert app.outcome("/other", bearer) == (403, "no_question")
        assert app.outcome("/throws", bearer) == (403, "no_question")
        assert app.outcome("/accounts/pier-1", bearer, "PATCH") == (403, "no_question")
        none = app.get("/accounts/pier-1")
        assert (none.status_code, none.headers["www-authenticate"]) == (401, "Bearer")
        assert app.outcome("/accounts/pier-1", "Basic x") == (401, "unauthenticated")
        assert app.outcome("/accounts/pier-1", "Bearer cmt_session_guess") == (403, "session_unknown")
        assert app.outcome("/accounts/pier-1", bearer + "x") == (403, "session_unknown")
        stay.revoke()
        assert app.outcome("/accounts/pier-1", bearer) == (403, "revoked")


@WAYS
def test_only_what_is_no_partners_passes_and_only_where_that_was_said(made):
    def of(issuer):
        body = base64.urlsafe_b64encode(json.dumps({"iss": issuer}).encode()).rstrip(b"=").decode()
        return f"Bearer e30.{body}.AA"

    with App(made, no_session="pass", issuer=DEMO["COMITY"]) as app:
        passed = app.get("/other", headers=[("X-Partner-Actor", "per_evil")]).json()
        assert "actor" not in passed and passed["lie"] is None
        for own in ["Basic eDp5", "Bearer own-token", of("https://login.boats.example")]:
            assert app.outcome("/other", own) == (200, None)
        assert app.outcome("/accounts/pier-1", of(DEMO["COMITY"])) == (403, "session_unknown")
        for wrong in [
            "Bearer cmt_session_guess",
            "bearer cmt_signin_guess",
            "Bearer cmt_session_a, Bearer b",
            "Bearer a b",
            "Bearer",
            "Token cmt_session_guess",
        ]:
            assert app.outcome("/accounts/pier-1", wrong)[0] in (401, 403), wrong
        two = [("authorization", "Basic eDp5"), ("authorization", "Bearer cmt_session_x")]
        assert app.outcome("/other", headers=two) == (401, "unauthenticated")
        stay = enter()
        assert app.get("/accounts/pier-1", f"Bearer {stay.token}").json()["actor"] == DEMO["TESS"]
        stay.revoke()
        assert app.outcome("/accounts/pier-1", f"Bearer {stay.token}") == (403, "revoked")
    with pytest.raises(ValueError):
        guarded(AsyncComity(DEMO["COMITY"], "k"), question, no_session="maybe")


@WAYS
def test_no_bad_answer_reaches_the_handler(made):
    for bad in TABLE["answers"]:
        if bad.get("act") not in (None, "close", "stall"):
            continue
        with Stub(answerer(bad)) as stub, App(made, stub.url, no_session="pass") as app:
            answer = app.get("/accounts/pier-1", "Bearer cmt_session_x")
            expected = (503 if bad["reason"] == "unavailable" else 403, bad["reason"])
            assert (answer.status_code, answer.json()["code"]) == expected, bad["name"]
            assert answer.status_code != 503 or answer.headers["retry-after"] == "1"


def test_without_the_handler_of_refusals_the_dependency_refuses_all_the_same():
    app = FastAPI()
    guard = guarded(AsyncComity(DEMO["COMITY"], DEMO["DECIDE_KEY"]), question)
    app.add_api_route("/accounts/{account}", lambda: "served", dependencies=[Depends(guard)])
    answer = TestClient(app).get("/accounts/pier-1", headers={"authorization": "Bearer cmt_session_guess"})
    assert answer.status_code == 403


def test_the_real_server():
    comity = Comity(DEMO["COMITY"], DEMO["DECIDE_KEY"])
    stay = enter()
    one = comity.decide(stay.token, "bookings:write", account="pier-1")
    assert one
    assert (one.actor.id, one.subject.id, one.session, one.grant) == (
        DEMO["TESS"],
        DEMO["TESS"],
        stay.session,
        stay.grant,
    )
    assert (one.organisation, one.mode) == (DEMO["MARINA"], "direct")
    assert comity.decide(stay.token, "bookings:read", organisation="marina-bay")
    other = comity.decide(stay.token, "bookings:read", account="pier-1", organisation="org_other")
    assert other.reason == "wrong_resource"
    assert comity.decide(stay.token, "bookings:read", account="pier-1", at_least=one.seq)
    later = comity.decide(stay.token, "bookings:read", account="pier-1", at_least=one.seq + 1_000_000)
    assert (bool(later), later.reason) == (False, "unavailable")
    stay.revoke()
    assert comity.decide(stay.token, "bookings:write", account="pier-1").reason == "revoked"
    wrong_key = Comity(DEMO["COMITY"], DEMO["PROVISION_KEY"])
    assert wrong_key.decide(stay.token, "bookings:write", account="pier-1").reason == "unavailable"
    comity.close()
    wrong_key.close()


def test_the_real_server_a_jwt_offline_and_online_also_after_the_revoke():
    stay = enter("direct", "jwt")
    verifier = Verifier(DEMO["COMITY"], "https://api.boats.example")
    token = asyncio.run(verifier.verify(stay.token))
    assert (token.subject, token.actor, token.session) == (DEMO["TESS"], DEMO["TESS"], stay.session)
    assert "bookings:read" in token.scope
    with pytest.raises(TokenRefused) as refused:
        asyncio.run(Verifier(DEMO["COMITY"], "https://other.example").verify(stay.token))
    assert refused.value.code == "audience"
    comity = Comity(DEMO["COMITY"], DEMO["DECIDE_KEY"])
    online = comity.introspect(stay.token, "boats-api")
    assert online
    assert (online.claims["sid"], online.claims["act"]) == (stay.session, {"sub": DEMO["TESS"]})
    stay.revoke()
    assert not comity.introspect(stay.token, "boats-api")
    assert comity.introspect(stay.token, "elsewhere").cause == "status_401"
    assert not comity.decide(stay.token, "bookings:read", account="pier-1")
    comity.close()
