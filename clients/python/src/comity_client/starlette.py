"""Middleware for FastAPI, Starlette and whatever else speaks ASGI; and a dependency for FastAPI."""

from __future__ import annotations

import base64
import inspect
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .client import AsyncComity, Question
from .decision import Decision

#: From a request to the question that it asks; nothing means that it is refused.
Asks = Callable[[HTTPConnection], "Question | Awaitable[Question | None] | None"]

_BEARER = re.compile(r"bearer +([^\s,]+) *", re.IGNORECASE)
_MEANT = re.compile(r"\s*bearer\b|.*cmt_", re.IGNORECASE | re.DOTALL)
_KEY = "comity_client.decision"
_TITLES = {401: "Unauthorized", 403: "Forbidden", 503: "Service Unavailable"}


class _Guard:
    """What the middleware and the dependency do alike."""

    def __init__(self, comity: AsyncComity, question: Asks, no_session: str, issuer: str | None) -> None:
        if no_session not in ("refuse", "pass"):
            raise ValueError("no_session must be refuse or pass")
        self._comity, self._question = comity, question
        self._no_session, self._issuer = no_session, issuer

    async def judged(self, connection: HTTPConnection) -> Refused | Decision | None:
        """A refusal, a yes, or nothing for what passes."""
        token = _token(connection.headers.getlist("authorization"))
        if self._no_session == "pass" and (
            token is None or (token != "" and not _is_partner_token(token, self._issuer))
        ):
            return None
        if not token:
            return Refused(
                401, "unauthenticated", "Send Authorization: Bearer with a partner session's token."
            )
        try:
            question: Any = self._question(connection)
            if inspect.isawaitable(question):
                question = await question
        except Exception:  # whatever the builder's code does, it is no yes
            question = None
        if not isinstance(question, Question):
            return Refused(403, "no_question", "No partner may do this.")
        decision = await self._comity.decide(
            token,
            question.permission,
            account=question.account,
            organisation=question.organisation,
            request_id=connection.headers.get("x-request-id"),
        )
        if decision:
            return decision
        status = 503 if decision.reason == "unavailable" else 403
        return Refused(status, decision.reason, decision.message or "No.")


class Refused(HTTPException):
    """What the dependency raises; ``code`` is the reason. ``answer_refusals`` shows it as a problem."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        headers = {"cache-control": "no-store"}
        if status == 401:
            headers["www-authenticate"] = "Bearer"
        if status == 503:
            headers["retry-after"] = "1"
        super().__init__(status, detail, headers)
        self.code = code

    def response(self) -> Response:
        """The same as problem details (RFC 9457)."""
        body = {"type": "about:blank", "title": _TITLES[self.status_code], "status": self.status_code}
        body |= {"code": self.code, "detail": self.detail}
        compact = json.dumps(body, separators=(",", ":"))
        return Response(compact, self.status_code, self.headers, "application/problem+json")


class ComityGuard:
    """Lets through what Comity says yes to: ``app.add_middleware(ComityGuard, comity=…, question=…)``.

    ``question`` says what a request would do; where it returns nothing or raises, the request is refused.
    ``no_session`` is what becomes of a request without a partner token: ``refuse`` (401), or ``pass`` where
    your own authentication takes over. A token that is there and is refused never passes. ``issuer``, with
    ``pass``: Comity's, so that its JWTs are known from your own.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        comity: AsyncComity,
        question: Asks,
        no_session: Literal["refuse", "pass"] = "refuse",
        issuer: str | None = None,
    ) -> None:
        self._app, self._guard = app, _Guard(comity, question, no_session, issuer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope = {**scope, "headers": list(scope["headers"]), "state": dict(scope.get("state") or {})}
        _strip(scope)
        outcome = await self._guard.judged(HTTPConnection(scope))
        if isinstance(outcome, Refused):
            await outcome.response()(scope, receive, send)
            return
        scope["state"][_KEY] = outcome
        await self._app(scope, receive, send)


def guarded(
    comity: AsyncComity,
    question: Asks,
    *,
    no_session: Literal["refuse", "pass"] = "refuse",
    issuer: str | None = None,
) -> Callable[[HTTPConnection], Awaitable[Decision | None]]:
    """A dependency of FastAPI that does the same for one route, where ``request.path_params`` are known.

    It gives the yes, or ``None`` for what passes, and raises ``Refused``.
    """
    guard = _Guard(comity, question, no_session, issuer)

    async def dependency(request: HTTPConnection) -> Decision | None:
        _strip(request.scope)
        outcome = await guard.judged(request)
        if isinstance(outcome, Refused):
            raise outcome
        request.scope.setdefault("state", {})[_KEY] = outcome
        return outcome

    return dependency


def answer_refusals(app: Starlette) -> None:
    """Lets an application answer what the dependency refuses as ``application/problem+json``."""

    async def answer(_: HTTPConnection, refused: Exception) -> Response:
        if not isinstance(refused, Refused):
            raise refused
        return refused.response()

    app.add_exception_handler(Refused, answer)  # type: ignore[arg-type]


def partner(request: HTTPConnection) -> Decision:
    """The yes by which a request came in; for FastAPI: ``Annotated[Decision, Depends(partner)]``.

    Raises ``RuntimeError`` where there is none, so that a handler that was mounted without the guard fails
    instead of serving.
    """
    decision = partner_or_none(request)
    if decision is None:
        raise RuntimeError("no decision was made about this request")
    return decision


def partner_or_none(request: HTTPConnection) -> Decision | None:
    """The same, or ``None`` where the request carried no partner token and was let pass."""
    decision = (request.scope.get("state") or {}).get(_KEY)
    return decision if isinstance(decision, Decision) and decision else None


def _strip(scope: Scope) -> None:
    """Removes the headers by which a gateway tells who the partner is: from outside they are lies. In
    place, so that a view of them that somebody has made already loses them too."""
    lies = [h for h in scope["headers"] if h[0].lower().replace(b"_", b"-").startswith(b"x-partner-")]
    for lie in lies:
        scope["headers"].remove(lie)
    scope.get("state", {}).pop(_KEY, None)


def _token(authorization: list[str]) -> str | None:
    """The bearer token, or ``None`` where there is none. Empty: somebody meant to send one. That is never
    taken for none, and two headers are never taken for one, since another program might read the other."""
    if not authorization:
        return None
    sent = _BEARER.fullmatch(authorization[0])
    if len(authorization) == 1 and sent:
        return sent[1]
    return None if len(authorization) == 1 and not _MEANT.match(authorization[0]) else ""


def _is_partner_token(token: str, issuer: str | None) -> bool:
    """Whether a token claims to be Comity's: an opaque one by its prefix, a JWT by its issuer."""
    if token.startswith("cmt_"):
        return True
    parts = token.split(".")
    if issuer is None or len(parts) < 2:
        return False
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(claims, dict) and claims.get("iss") == issuer
