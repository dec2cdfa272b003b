"""Asking: may this session do this to that, now?"""

from __future__ import annotations

import asyncio
import base64
import enum
import json
import re
import threading
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode

from .decision import Decision, invalid, read, unavailable
from .transport import USER_AGENT, Answer, NoAnswer, Secret, address, ask, client
from .wire import Entity, Evaluation, Evaluations

_PERMISSION = re.compile(r"[a-z0-9_-]{1,64}:[a-z0-9_-]{1,64}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")
_FORM = "application/x-www-form-urlencoded"
_T = TypeVar("_T")


class Unsaid(enum.Enum):
    """What was left out, apart from what was looked up and is ``None``."""

    UNSAID = "unsaid"

    def __repr__(self) -> str:
        return "UNSAID"


UNSAID = Unsaid.UNSAID


@dataclass(frozen=True)
class Question:
    """What a call would do: a permission (``resource:verb``, without a star) and what it concerns.

    ``account`` is your identifier, looked up inside the customer of the session. ``organisation`` alone is
    the customer as a whole; beside ``account`` it is the customer (``org_…``) to which the account must
    belong, or else the answer is ``wrong_resource``. Either may be left out; one that is ``None`` is refused,
    so that an account that was not found never becomes a question about the whole customer.
    """

    permission: str
    account: str | Unsaid | None = UNSAID
    organisation: str | Unsaid | None = UNSAID


@dataclass(frozen=True)
class Introspection:
    """What the introspection of a token says (RFC 7662). As a condition it is true for an active one only."""

    active: bool
    claims: dict[str, Any] = field(default_factory=dict)
    cause: str | None = None

    def __bool__(self) -> bool:
        return self.active is True


class AsyncComity:
    """Comity, as a service asks it. Make one and keep it: it holds the connections.

    ``url``: where Comity is, https unless on this machine or ``plain_http`` is said. ``key``: a key for
    ``decide``. ``timeout``: seconds for one question, retries included.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 2.0, plain_http: bool = False) -> None:
        self._url = address(url, plain_http)
        self._key = Secret(key)
        if not 0 < timeout <= 60:
            raise ValueError("timeout must be from 0 to 60 seconds")
        self._timeout = timeout
        self._http = client()

    async def decide(
        self,
        token: str,
        permission: str,
        *,
        account: str | Unsaid | None = UNSAID,
        organisation: str | Unsaid | None = UNSAID,
        request_id: str | None = None,
        at_least: int | None = None,
    ) -> Decision:
        """May the session of this token do this to that, now?

        Never raises for what a server does: whatever is not clearly a yes is a no, with the reason
        ``unavailable`` where no trustworthy answer came in time. ``at_least``: the ``seq`` of an earlier
        answer; decide on nothing older.
        """
        question = Question(permission, account, organisation)
        return (await self._evaluate(token, [question], request_id, at_least, several=False))[0]

    async def decide_all(
        self,
        token: str,
        questions: Sequence[Question],
        *,
        request_id: str | None = None,
        at_least: int | None = None,
    ) -> list[Decision]:
        """Several questions about one token in one call; as many answers, in the same order."""
        return await self._evaluate(token, questions, request_id, at_least, several=True) if questions else []

    async def introspect(self, token: str, application: str) -> Introspection:
        """Asks online what a token is worth. It counts no call and decides nothing about accounts.

        ``application`` is the code of yours, to which the key belongs.
        """
        if not _usable(token):
            return Introspection(False)
        try:
            form = urlencode({"token": token}).encode()
            answer = await self._post("/oauth/introspect", _FORM, form, None, _basic(application, self._key))
        except NoAnswer as no:
            return Introspection(False, cause=no.cause)
        if answer.status != 200:
            return Introspection(False, cause=f"status_{answer.status}")
        active = answer.body.get("active") if isinstance(answer.body, dict) else None
        if active is True:
            return Introspection(True, answer.body)
        return Introspection(False, cause=None if active is False else "malformed")

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _evaluate(
        self,
        token: str,
        questions: Sequence[Question],
        request_id: str | None,
        at_least: int | None,
        *,
        several: bool,
    ) -> list[Decision]:
        wrong = None if _usable(token) else "The token is malformed."
        wrong = wrong or next((w for w in map(_unaskable, questions) if w), None)
        if wrong:
            return [invalid(wrong)] * len(questions)
        asked = [_wire(question) for question in questions]
        subject: Entity = {"type": "partner_session", "id": token}
        body: Evaluation | Evaluations = {"subject": subject, "evaluations": asked}
        if not several:
            body = {"subject": subject, **asked[0]}
        if at_least is not None:
            body["context"] = {"at_least": at_least}
        path = "/access/v1/evaluations" if several else "/access/v1/evaluation"
        try:
            answer = await self._post(path, "application/json", json.dumps(body).encode(), request_id)
        except NoAnswer as no:
            return [unavailable(no.cause)] * len(questions)
        refused = _not_answered(answer)
        if refused is not None:
            return [refused] * len(questions)
        answers: Any = [answer.body]
        if several:
            answers = answer.body.get("evaluations") if isinstance(answer.body, dict) else None
        if not isinstance(answers, list) or len(answers) != len(questions):
            return [unavailable("malformed")] * len(questions)
        return [_within(question, read(a)) for question, a in zip(questions, answers, strict=True)]

    async def _post(
        self, path: str, kind: str, body: bytes, request_id: str | None, authorization: str | None = None
    ) -> Answer:
        headers = {
            "authorization": authorization or f"Bearer {self._key.reveal()}",
            "content-type": kind,
            "accept": "application/json",
            "accept-encoding": "identity",
            "x-request-id": request_id_or_new(request_id),
            "user-agent": USER_AGENT,
        }
        return await ask(self._http, "POST", self._url + path, headers, body, self._timeout)


class Comity:
    """The same without ``await``, for scripts, Flask or Django. Safe to use from many threads.

    The questions run on one event loop in a thread of their own.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 2.0, plain_http: bool = False) -> None:
        self._inner = AsyncComity(url, key, timeout=timeout, plain_http=plain_http)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="comity-client", daemon=True).start()

    def decide(
        self,
        token: str,
        permission: str,
        *,
        account: str | Unsaid | None = UNSAID,
        organisation: str | Unsaid | None = UNSAID,
        request_id: str | None = None,
        at_least: int | None = None,
    ) -> Decision:
        """See ``AsyncComity.decide``."""
        asked = self._inner.decide(
            token,
            permission,
            account=account,
            organisation=organisation,
            request_id=request_id,
            at_least=at_least,
        )
        return self._wait(asked)

    def decide_all(
        self,
        token: str,
        questions: Sequence[Question],
        *,
        request_id: str | None = None,
        at_least: int | None = None,
    ) -> list[Decision]:
        """See ``AsyncComity.decide_all``."""
        return self._wait(self._inner.decide_all(token, questions, request_id=request_id, at_least=at_least))

    def introspect(self, token: str, application: str) -> Introspection:
        """See ``AsyncComity.introspect``."""
        return self._wait(self._inner.introspect(token, application))

    def close(self) -> None:
        """Closes the connections and ends the thread."""
        self._wait(self._inner.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _wait(self, asked: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()


def request_id_or_new(given: str | None) -> str:
    """The given identifier if a header can carry it, or else a new one."""
    return given if isinstance(given, str) and _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def _basic(application: str, key: Secret) -> str:
    """The application's name and key, as RFC 6749, section 2.3.1 joins them."""
    joined = f"{quote_plus(application)}:{quote_plus(key.reveal())}"
    return f"Basic {base64.b64encode(joined.encode()).decode()}"


def _usable(token: Any) -> bool:
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


def _unaskable(question: Question) -> str | None:
    if not isinstance(question.permission, str) or not _PERMISSION.fullmatch(question.permission):
        return "The permission must be resource:verb."
    said = [word for word in (question.account, question.organisation) if word is not UNSAID]
    named = said and all(isinstance(word, str) and word for word in said)
    return None if named else "Name the account, or the organisation."


def _wire(question: Question) -> Evaluation:
    kind, name = ("account", question.account)
    if name is UNSAID:
        kind, name = ("organisation", question.organisation)
    resource: Entity = {"type": kind, "id": str(name)}
    return {"action": {"name": question.permission}, "resource": resource}


def _not_answered(answer: Answer) -> Decision | None:
    """What is no answer at all, as a decision."""
    if answer.status == 200:
        return None
    code = answer.body.get("code") if isinstance(answer.body, dict) else None
    if answer.status in (400, 422) and isinstance(code, str):
        return invalid("Comity refused the question.")
    if answer.status == 503 and code in ("stale", "busy"):
        return unavailable(code)
    return unavailable(f"status_{answer.status}")


def _within(question: Question, decision: Decision) -> Decision:
    """An account's identifier says nothing outside its customer."""
    if not decision or question.account is UNSAID or question.organisation is UNSAID:
        return decision
    if decision.organisation == question.organisation:
        return decision
    message = "The session is for another customer."
    return replace(decision, allowed=False, reason="wrong_resource", message=message)
