"""Checking a JWT access token offline (RFC 9068). It may go on for up to 60 s after an ending."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

from .decision import MODES
from .transport import USER_AGENT, NoAnswer, address, ask, client

#: The longest life of a token, and how far clocks may be apart, in seconds.
LONGEST = 60
LEEWAY = 5
#: Keys are fetched anew after this time, and not used after that one, in seconds.
FRESH = 300
USABLE = 600
#: An unknown key, or a failure, makes us ask again, but not more often than this.
AGAIN = 10
MOST_KEYS = 16


@dataclass(frozen=True)
class VerifiedToken:
    """What a token in force says."""

    #: Who acts towards your product.
    subject: str
    #: The real person.
    actor: str
    #: The partner session.
    session: str
    #: The customer, by Comity's identifier. Whatever you read or change must belong to it.
    organisation: str
    grant: str
    #: ``direct``, ``view`` or ``act_as``.
    mode: str
    scope: tuple[str, ...]
    #: Seconds since 1970.
    expires_at: float
    claims: dict[str, Any]


class TokenRefused(Exception):
    """A token was not believed.

    ``code`` is ``malformed``, ``algorithm``, ``type``, ``unknown_key``, ``signature``, ``issuer``,
    ``audience``, ``expired``, ``not_yet``, ``too_long``, ``claims``, or ``unavailable`` where the keys cannot
    be had.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"token refused: {code}")
        self.code = code


class Verifier:
    """Checks tokens of one issuer for one audience. Make one and keep it: it holds the keys."""

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        timeout: float = 2.0,
        plain_http: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        address(issuer, plain_http)
        if not audience:
            raise ValueError("audience must not be empty")
        self._issuer, self._audience, self._timeout, self._now = issuer, audience, timeout, now
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def verify(self, token: str) -> VerifiedToken:
        """The claims of a token in force. Raises ``TokenRefused``."""
        shape = r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
        if not isinstance(token, str) or len(token) > 8192 or not re.fullmatch(shape, token):
            raise TokenRefused("malformed")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRefused("malformed") from None
        if header.get("alg") not in ("ES256", "EdDSA"):
            raise TokenRefused("algorithm")
        if str(header.get("typ", "")).lower() not in ("at+jwt", "application/at+jwt"):
            raise TokenRefused("type")
        kid = header.get("kid")
        if "crit" in header or not isinstance(kid, str):
            raise TokenRefused("malformed")
        key = await self._key(kid)
        # The key says which algorithm it is for; the token is not asked.
        if key.algorithm_name != header["alg"]:
            raise TokenRefused("algorithm")
        # Only the signature: every claim is judged below, by the same rules in each of our clients.
        unjudged: Any = {
            f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
        }
        try:
            claims = jwt.decode(token, key, algorithms=[key.algorithm_name], options=unjudged)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise TokenRefused("signature") from None
        return self._judged(claims)

    def _judged(self, claims: dict[str, Any]) -> VerifiedToken:
        if claims.get("iss") != self._issuer:
            raise TokenRefused("issuer")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenRefused("audience")
        now = self._now()
        if not _seconds(now):
            raise TokenRefused("unavailable")  # nothing is before or after a clock that says no number
        expires, issued, begins = (claims.get(name) for name in ("exp", "iat", "nbf"))
        if not _seconds(expires) or not _seconds(issued) or not (begins is None or _seconds(begins)):
            raise TokenRefused("claims")
        if now >= expires + LEEWAY:
            raise TokenRefused("expired")
        if expires > now + LONGEST + LEEWAY or expires - issued > LONGEST + LEEWAY:
            raise TokenRefused("too_long")
        if issued > now + LEEWAY or (begins is not None and begins > now + LEEWAY):
            raise TokenRefused("not_yet")
        act = claims.get("act")
        actor = act.get("sub") if isinstance(act, dict) else None
        place = [claims.get(f"urn:comity:{name}") for name in ("organisation", "grant", "mode")]
        words = [claims.get(name) for name in ("sub", "sid", "jti", "client_id")] + [actor, *place]
        if not all(isinstance(word, str) and word for word in words):
            raise TokenRefused("claims")
        organisation, grant, mode = map(str, place)
        if mode not in MODES:
            raise TokenRefused("claims")
        scope = claims.get("scope")
        scope = tuple(scope.split()) if isinstance(scope, str) else ()
        subject, session = claims["sub"], claims["sid"]
        return VerifiedToken(subject, str(actor), session, organisation, grant, mode, scope, expires, claims)

    async def _key(self, kid: str) -> jwt.PyJWK:
        now = time.monotonic()
        if now - self._fetched > FRESH or kid not in self._keys:
            if self._fetching is None and now - self._tried >= AGAIN:
                self._tried = now
                self._fetching = asyncio.create_task(self._fetch())
            if self._fetching is not None:
                # Shielded: one caller who leaves takes the keys from nobody else.
                await asyncio.shield(self._fetching)
        if time.monotonic() - self._fetched > USABLE:
            raise TokenRefused("unavailable")
        if kid not in self._keys:
            raise TokenRefused("unknown_key")
        return self._keys[kid]

    async def _fetch(self) -> None:
        """Fetches the keys. A failure is no reason to forget keys that may still be used."""
        try:
            self._keys = await self._fetched_keys()
            self._fetched = time.monotonic()
        except (NoAnswer, ValueError):
            pass
        finally:
            self._fetching = None

    async def _fetched_keys(self) -> dict[str, jwt.PyJWK]:
        at = urlsplit(self._issuer)
        origin = f"{at.scheme}://{at.netloc}"
        path = "" if at.path == "/" else at.path
        metadata = await self._get(f"{origin}/.well-known/oauth-authorization-server{path}")
        where = metadata.get("jwks_uri")
        # The keys of this issuer come from where the issuer is, and from nowhere else.
        if metadata.get("issuer") != self._issuer or not isinstance(where, str):
            raise NoAnswer("malformed")
        if f"{urlsplit(where).scheme}://{urlsplit(where).netloc}" != origin:
            raise NoAnswer("malformed")
        found = (await self._get(where)).get("keys")
        if not isinstance(found, list):
            raise NoAnswer("malformed")
        keys = {}
        for jwk in found[:MOST_KEYS]:
            key = _imported(jwk)
            if key is not None:
                keys[jwk["kid"]] = key
        return keys

    async def _get(self, url: str) -> dict[str, Any]:
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": USER_AGENT}
        async with client() as http:
            answer = await ask(http, "GET", url, headers, None, self._timeout)
        if answer.status != 200 or not isinstance(answer.body, dict):
            raise NoAnswer(f"status_{answer.status}")
        return answer.body


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _imported(jwk: Any) -> jwt.PyJWK | None:
    """A public key for ES256 or EdDSA; anything else in the set is passed over."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or jwk.get("use", "sig") != "sig":
        return None
    kind = (jwk.get("kty"), jwk.get("crv"))
    algorithm = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}.get(kind)
    if algorithm is None or jwk.get("alg", algorithm) not in (algorithm, {"EdDSA": "Ed25519"}.get(algorithm)):
        return None
    try:
        return jwt.PyJWK({name: jwk[name] for name in ("kty", "crv", "x", "y") if name in jwk}, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
