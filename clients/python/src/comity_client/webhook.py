"""Checking a webhook: Standard Webhooks, over the raw body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Webhook:
    """A delivery that is Comity's and is new."""

    #: The same on every attempt: remember it for as long as you would act twice.
    id: str
    #: When this attempt was signed, in seconds since 1970, UTC.
    timestamp: int
    #: The body, read as JSON.
    payload: Any


class WebhookRefused(Exception):
    """A delivery was not believed.

    ``code`` is ``missing``, ``malformed``, ``too_old``, ``too_new`` or ``signature``.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"webhook refused: {code}")
        self.code = code


def verify_webhook(
    secrets: str | Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance: int = 300,
    now: float | None = None,
) -> Webhook:
    """Checks the signature of a delivery and returns what it says, or raises ``WebhookRefused``.

    ``body`` must be the bytes as they came, not what a parser made of them. With several secrets any one is
    enough, so that they can be exchanged without a gap. ``tolerance``: how many seconds the clocks may be
    apart. ``now``: seconds since 1970; the clock unless given.
    """
    keys = [_key(secret) for secret in ([secrets] if isinstance(secrets, str) else secrets)]
    lower: dict[str, list[str]] = {}
    for name, value in headers.items():
        lower.setdefault(name.lower(), []).append(value)
    found = [lower.get(f"webhook-{name}", []) for name in ("id", "timestamp", "signature")]
    if not all(len(values) == 1 and isinstance(values[0], str) and values[0] for values in found):
        raise WebhookRefused("missing")
    identifier, sent, signatures = (values[0] for values in found)
    if not re.fullmatch(r"[\x21-\x7e]{1,256}", identifier) or not re.fullmatch(r"[0-9]{1,12}", sent):
        raise WebhookRefused("malformed")
    timestamp, at = int(sent), time.time() if now is None else now
    # Nothing is too old for a tolerance that is no number.
    if not math.isfinite(at) or not 0 <= tolerance <= 86_400:
        raise ValueError("now is seconds since 1970, and tolerance 0 to 86400 seconds")
    if timestamp < at - tolerance:
        raise WebhookRefused("too_old")
    if timestamp > at + tolerance:
        raise WebhookRefused("too_new")
    signed = f"{identifier}.{sent}.".encode() + body
    wanted = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    given = [_decoded(s[3:]) for s in signatures.split(" ")[:16] if s.startswith("v1,")]
    if not any([hmac.compare_digest(w, g) for w in wanted for g in given]):
        raise WebhookRefused("signature")
    try:
        return Webhook(identifier, timestamp, json.loads(body.decode("utf-8")))
    except (ValueError, RecursionError):
        raise WebhookRefused("malformed") from None


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _key(secret: str) -> bytes:
    key = _decoded(secret[6:]) if secret.startswith("whsec_") else b""
    if not 24 <= len(key) <= 64:
        raise ValueError("a webhook secret is whsec_ and 24 to 64 bytes in base64")
    return key
