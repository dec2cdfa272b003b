"""HTTP towards Comity: bounded in time and size, no redirects, retried only where nothing was done."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

LARGEST = 1024 * 1024
RETRIES = 2
USER_AGENT = "comity-client-python/0.1.0"
_JSON = re.compile(r"application/(?:[a-z0-9.-]+\+)?json")


class Secret:
    """A string that does not show itself when it is logged."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        # Visible ASCII: what a header can carry whole.
        if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]{1,4096}", value):
            raise ValueError("a secret is 1 to 4096 visible ASCII characters")
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"


class NoAnswer(Exception):
    """No answer came that can be trusted; ``cause`` says why."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"no answer of Comity: {cause}")
        self.cause = cause


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    retry: float | None = None


def address(url: str, plain_http: bool) -> str:
    """The address of a server, without a slash at its end: https, or plain http on this machine, or
    wherever ``plain_http`` says that the network between can be trusted."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or not (
        parts.scheme == "https" or (parts.scheme == "http" and (local or plain_http))
    ):
        raise ValueError(f"{parts.hostname}: use https, or say plain_http where the network can be trusted")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError("an address of Comity has no user, query or fragment")
    return url.rstrip("/")


def client() -> httpx.AsyncClient:
    # Neither proxies nor certificates from the environment: a question holds a token and a key.
    return httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=None)  # noqa: S113 (`ask` bounds the whole)


async def ask(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    timeout: float,
) -> Answer:
    """Asks, and returns the JSON that came back, whatever the status. ``timeout``: seconds for
    everything, retries included. Raises ``NoAnswer``."""
    until = time.monotonic() + timeout
    tried = 0
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise NoAnswer("timeout")
        answer, pause = None, 0.05
        try:
            answer = await asyncio.wait_for(_once(http, method, url, headers, body), left)
            if answer.status != 503 or answer.retry is None:
                return answer
            pause = answer.retry
        except asyncio.TimeoutError:
            raise NoAnswer("timeout") from None
        except httpx.ConnectError:
            pass  # nothing reached the server, so asking again repeats nothing
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, UnicodeError):
            raise NoAnswer("connection") from None
        if tried >= RETRIES or pause >= until - time.monotonic():
            if answer is not None:
                return answer
            raise NoAnswer("connection")
        tried += 1
        await asyncio.sleep(pause)


async def _once(
    http: httpx.AsyncClient, method: str, url: str, headers: Mapping[str, str], body: bytes | None
) -> Answer:
    async with http.stream(method, url, headers=dict(headers), content=body) as response:
        parts, length = [], 0
        async for part in response.aiter_bytes():
            length += len(part)
            if length > LARGEST:
                raise NoAnswer("too_large")
            parts.append(part)
        kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
        after = response.headers.get("retry-after", "")
        retry = float(after) if response.status_code == 503 and re.fullmatch(r"[0-9]{1,4}", after) else None
        return Answer(
            response.status_code, _parsed(b"".join(parts)) if _JSON.fullmatch(kind) else None, retry
        )


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        return None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
