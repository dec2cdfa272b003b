"""Asking: whatever a server does, only a yes is a yes."""

import asyncio
import json
import time

import pytest
from stub import TABLE, YES, Stub, answerer, made

from comity_client import AsyncComity, Comity, Question

KEY = "cmt_key_never-in-a-log"
TOKEN = "cmt_session_never-in-a-log"


def yes(connection, _):
    connection.sendall(YES)


def decide(url, timeout=2.0, token=TOKEN, permission="boats:read", **more):
    return asyncio.run(
        AsyncComity(url, KEY, timeout=timeout).decide(token, permission, **(more or {"account": "boat-3"}))
    )


@pytest.mark.parametrize("bad", TABLE["answers"], ids=lambda bad: bad["name"])
def test_each_bad_answer_is_a_no_with_its_reason(bad):
    with Stub(answerer(bad)) as stub:
        began = time.monotonic()
        decision = decide(stub.url, timeout=0.4)
        took = time.monotonic() - began
    assert not decision
    assert (decision.allowed, decision.reason, decision.cause) == (False, bad["reason"], bad.get("cause"))
    assert took < 1.5
    assert len(stub.requests) == 1


def test_a_yes_says_who_acts():
    with Stub(yes) as stub:
        decision = decide(stub.url, account="boat-3", request_id="r-1", at_least=5)
    assert decision
    assert decision.allowed is True
    assert (decision.actor.id, decision.subject.id, decision.mode, decision.seq) == (
        "per_1",
        "org_1",
        "act_as",
        7,
    )
    head, body = stub.requests[0].split("\r\n\r\n")
    assert head.startswith("POST /access/v1/evaluation HTTP")
    assert "x-request-id: r-1" in head.lower()
    assert f"authorization: bearer {KEY}".lower() in head.lower()
    assert json.loads(body) == {
        "subject": {"type": "partner_session", "id": TOKEN},
        "action": {"name": "boats:read"},
        "resource": {"type": "account", "id": "boat-3"},
        "context": {"at_least": 5},
    }


def test_t17_an_account_of_another_customer_is_none():
    with Stub(yes) as stub:
        assert decide(stub.url, account="boat-3", organisation="org_1")
        other = decide(stub.url, account="boat-3", organisation="org_2")
    assert (bool(other), other.reason) == (False, "wrong_resource")


def test_what_cannot_be_asked_is_not_asked():
    with Stub(yes) as stub:
        for wrong in [
            {"token": ""},
            {"token": "a b"},
            {"token": None},
            {"permission": "boats:*"},
            {"permission": "boats:read\n"},
            {"permission": None},
            {"account": None},
            {"account": None, "organisation": "org_1"},
            {"organisation": None},
            {"organisation": ""},
            {"account": ""},
            {"account": 7},
        ]:
            decision = decide(stub.url, **{"account": "boat-3", **wrong})
            assert (decision.allowed, decision.reason) == (False, "invalid"), wrong
    assert stub.requests == []


def test_several_questions_as_many_answers():
    no = '{"decision":false,"context":{"reason":"no_role"}}'
    error = '{"decision":false,"context":{"error":{"status":503,"message":"x"}}}'
    questions = [Question("boats:read", account=f"boat-{n}") for n in range(3)]

    def several(body):
        with Stub(lambda connection, _: connection.sendall(made({"body": body}))) as stub:
            decisions = asyncio.run(AsyncComity(stub.url, KEY).decide_all(TOKEN, questions))
        assert stub.requests[0].startswith("POST /access/v1/evaluations HTTP")
        assert all(bool(d) == (d.reason == "allowed") for d in decisions)
        return [d.reason for d in decisions]

    assert several(f'{{"evaluations":[YES,{no},{error}]}}') == ["allowed", "no_role", "unavailable"]
    for wrong in ['{"evaluations":[YES]}', '{"evaluations":[YES,YES,YES,YES]}', "YES", '{"evaluations":{}}']:
        assert several(wrong) == ["unavailable"] * 3
    assert asyncio.run(AsyncComity("http://127.0.0.1:1", KEY).decide_all(TOKEN, [])) == []


def test_asked_again_only_where_nothing_was_done():
    busy = made({"status": 503, "headers": {"retry-after": "0"}, "body": '{"code":"busy"}'})
    answers = [busy, busy, YES]
    with Stub(lambda connection, _: connection.sendall(answers.pop(0))) as stub:
        assert decide(stub.url)
    assert len(stub.requests) == 3
    gone = decide(stub.url)
    assert (bool(gone), gone.reason, gone.cause) == (False, "unavailable", "connection")


def test_without_await_from_many_threads():
    with Stub(yes) as stub:
        comity = Comity(stub.url, KEY)
        assert comity.decide(TOKEN, "boats:read", account="boat-3")
        comity.close()
    with Stub(answerer({"act": "stall"})) as stub:
        comity = Comity(stub.url, KEY, timeout=0.2)
        assert comity.decide(TOKEN, "boats:read", account="boat-3").cause == "timeout"
        assert [d.cause for d in comity.decide_all(TOKEN, [Question("boats:read", account="b")])] == [
            "timeout"
        ]
        assert not comity.introspect(TOKEN, "boats-api")
        comity.close()


def test_secrets_do_not_show_and_do_not_travel_in_the_clear():
    comity = AsyncComity("http://127.0.0.1:1", KEY)
    assert "never-in-a-log" not in repr(comity) + repr(vars(comity)) + str(comity._key)
    for url in ["http://comity.example", "ftp://127.0.0.1", "comity.example", "https://a:b@comity.example"]:
        with pytest.raises(ValueError):
            AsyncComity(url, KEY)
    with pytest.raises(ValueError) as error:
        AsyncComity("https://comity.example", "two\nlines")
    assert "two" not in str(error.value)
    assert AsyncComity("http://comity.internal", KEY, plain_http=True)


def test_introspection_only_an_active_token_is_one():
    def introspect(answer):
        with Stub(lambda connection, _: connection.sendall(made(answer))) as stub:
            return asyncio.run(AsyncComity(stub.url, KEY, timeout=0.4).introspect(TOKEN, "boats-api"))

    assert introspect({"body": '{"active":true,"sub":"per_1"}'}).claims["sub"] == "per_1"
    for body in ['{"active":false}', '{"active":"true"}', '{"active":1}', "{}", "", "[]", "true"]:
        assert not introspect({"body": body}), body
    assert not introspect({"status": 500, "body": '{"active":true}'})
    assert not introspect({"type": "text/html", "body": '{"active":true}'})
