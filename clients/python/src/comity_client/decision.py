"""What Comity answers, and how an answer is read: whatever is not clearly a yes is a no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from . import wire

MODES: tuple[str, ...] = get_args(wire.Mode)


@dataclass(frozen=True)
class Entity:
    """Somebody, by Comity's identifier."""

    type: str
    id: str


@dataclass(frozen=True)
class Decision:
    """The answer to "may this session do this to that, now?". As a condition it is true for a yes only.

    ``reason`` is Comity's stable code, ``allowed`` for a yes, or one of this library's: ``unavailable``
    (no answer that can be trusted came in time; ``cause`` says why) and ``invalid`` (the question itself
    cannot be asked). A yes has every field but ``cause``.
    """

    allowed: bool
    reason: str
    message: str = ""
    #: The position of the log that was decided on.
    seq: int | None = None
    #: The real person, in every mode.
    actor: Entity | None = None
    #: Who acts towards your product: the person, or in ``act_as`` the customer organisation.
    subject: Entity | None = None
    #: The customer, by Comity's identifier. Whatever you read or change must belong to it.
    organisation: str | None = None
    session: str | None = None
    grant: str | None = None
    #: ``direct``, ``view`` or ``act_as``.
    mode: str | None = None
    #: When the stay ends at the latest, RFC 3339.
    deadline: str | None = None
    #: ``timeout``, ``connection``, ``malformed``, ``too_large``, ``stale``, ``busy`` or ``status_…``.
    cause: str | None = None

    def __bool__(self) -> bool:
        return self.allowed is True


def unavailable(cause: str) -> Decision:
    return Decision(False, "unavailable", "Access cannot be checked right now. Try again.", cause=cause)


def invalid(message: str) -> Decision:
    return Decision(False, "invalid", message)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _entity(value: Any) -> Entity | None:
    if not isinstance(value, dict):
        return None
    kind, identifier = _text(value.get("type")), _text(value.get("id"))
    return Entity(kind, identifier) if kind and identifier else None


def _stay(context: dict[str, Any]) -> dict[str, Any]:
    """The fields of the stay, or nothing unless all are there."""
    words = ("organisation", "session", "grant", "mode", "deadline")
    found: dict[str, Any] = {name: _text(context.get(name)) for name in words}
    found |= {name: _entity(context.get(name)) for name in ("actor", "subject")}
    whole = all(value is not None for value in found.values()) and found["mode"] in MODES
    return found if whole else {}


def read(answer: Any) -> Decision:
    """Reads one answer. A yes that contradicts itself or does not say who acts is none."""
    decision = answer.get("decision") if isinstance(answer, dict) else None
    # `1 is True` is false, `1 == True` is not.
    if decision is not True and decision is not False:
        return unavailable("malformed")
    context = answer.get("context")
    context = {} if context is None else context
    if not isinstance(context, dict):
        return unavailable("malformed")
    stay, seq = _stay(context), context.get("seq")
    if type(seq) is not int or seq < 0:
        seq = None
    message = _text(context.get("message")) or ""
    if decision is True:
        if context.get("reason") != "allowed" or not stay or seq is None:
            return unavailable("malformed")
        return Decision(True, "allowed", message, seq, **stay)
    reason = _text(context.get("reason")) or _code(context.get("error")) or "denied"
    if reason == "allowed":
        return unavailable("malformed")
    if reason in ("stale", "busy"):
        return unavailable(reason)
    return Decision(False, reason, message, seq, **stay)


def _code(error: Any) -> str | None:
    """AuthZEN reports a question of several that could not be answered as an error in its context."""
    if not isinstance(error, dict):
        return None
    if _text(error.get("code")):
        return _text(error.get("code"))
    status = error.get("status")
    return "invalid" if isinstance(status, int) and status < 500 else "stale"
