"""Webhooks: signed by the reference library of Standard Webhooks, and what must not be believed (T43)."""

import base64
import json
from datetime import datetime, timezone

import pytest
from standardwebhooks import Webhook

from comity_client import WebhookRefused, verify_webhook

OLD, NEW = ("whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
NOW = 1_800_000_000
BODY = '{"type":"session.ended","data":{"name":"Zoë"}}'


def signed(secret=NEW, at=NOW, body=BODY, more=None):
    signature = Webhook(secret).sign("evt_1", datetime.fromtimestamp(at, timezone.utc), body)
    return {
        "Webhook-Id": "evt_1",
        "Webhook-Timestamp": str(at),
        "Webhook-Signature": signature,
        **(more or {}),
    }


def code(headers, body=BODY, secrets=NEW):
    try:
        verify_webhook(secrets, headers, body.encode(), now=NOW)
    except WebhookRefused as refused:
        return refused.code
    return "accepted"


def test_a_signed_delivery_is_believed_also_while_secrets_are_exchanged():
    got = verify_webhook(NEW, signed(), BODY.encode(), now=NOW)
    assert (got.id, got.timestamp, got.payload) == ("evt_1", NOW, json.loads(BODY))
    assert code(signed(OLD), secrets=[NEW, OLD]) == "accepted"
    both = f"v1a,xyz {signed(OLD)['Webhook-Signature']} {signed()['Webhook-Signature']}"
    assert code(signed(more={"Webhook-Signature": both})) == "accepted"
    assert code(signed(at=NOW - 300)) == code(signed(at=NOW + 300)) == "accepted"


def test_t43_forged_altered_replayed_or_unsigned_deliveries_are_refused():
    signature = signed()["Webhook-Signature"]
    for headers, body, expected in [
        (signed(OLD), BODY, "signature"),
        (signed(), BODY.replace("ended", "begun"), "signature"),
        (signed(), BODY + " ", "signature"),
        (signed(more={"Webhook-Id": "evt_2"}), BODY, "signature"),
        (signed(more={"Webhook-Timestamp": str(NOW + 1)}), BODY, "signature"),
        (signed(more={"Webhook-Signature": "v1,"}), BODY, "signature"),
        (signed(more={"Webhook-Signature": "v1,é"}), BODY, "signature"),
        (signed(more={"Webhook-Signature": signature.replace("v1,", "v2,")}), BODY, "signature"),
        (signed(more={"Webhook-Signature": signature[:-9]}), BODY, "signature"),
        (signed(at=NOW - 301), BODY, "too_old"),
        (signed(at=NOW + 301), BODY, "too_new"),
        (signed(body="not json"), "not json", "malformed"),
    ]:
        assert code(headers, body) == expected, headers
    for name in signed():
        assert code({n: v for n, v in signed().items() if n != name}) == "missing"
        assert code({**signed(), name.lower(): "x"}) == "missing", "twice"
    for at in ["1e9", "-1", " 1800000000", "1800000000.0", "x", "١٨"]:
        assert code(signed(more={"Webhook-Timestamp": at})) == "malformed"
    for secret in ["", "whsec_", "whsec_c2hvcnQ=", base64.b64encode(bytes(32)).decode()]:
        with pytest.raises(ValueError):
            verify_webhook(secret, signed(), BODY.encode(), now=NOW)
    assert code(signed(), secrets=[]) == "signature"


def test_t43_a_tolerance_or_clock_that_is_no_number_lets_nothing_old_in():
    nan, old = float("nan"), signed(at=NOW - 9_999_999)
    for wrong in [{"tolerance": nan}, {"tolerance": float("inf")}, {"tolerance": -1}, {"now": nan}]:
        with pytest.raises(ValueError):
            verify_webhook(NEW, old, BODY.encode(), **{"now": NOW, **wrong})
