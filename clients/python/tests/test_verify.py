"""Offline checks against keys of our own: RFC 9068, and what attacks on JWTs look like (T19)."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from comity_client import TokenRefused, Verifier

AUDIENCE = "https://api.boats.example"
NOW = 1_800_000_000
EC, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)


def jwk(algorithm, key, **more):
    return {**json.loads(algorithm.to_jwk(key.public_key())), **more}


SET = [
    jwk(ECAlgorithm, EC, kid="ec", use="sig", alg="ES256"),
    jwk(OKPAlgorithm, ED, kid="ed", use="sig"),
    jwk(RSAAlgorithm, RSA, kid="rsa", use="sig", alg="RS256"),
    jwk(ECAlgorithm, EC, kid="enc", use="enc"),
]


class Issuer(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked, self.metadata, self.status = (
            [],
            {"issuer": self.url, "jwks_uri": self.url + "/oauth/jwks"},
            200,
        )
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = {"keys": SET} if self.path == "/oauth/jwks" else self.server.metadata
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def issuer():
    server = Issuer()
    yield server
    server.shutdown()
    server.server_close()


HEADER = {"alg": "ES256", "typ": "at+jwt", "kid": "ec"}


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def claims(issuer, more=None):
    found = {
        "iss": issuer.url, "sub": "org_1", "aud": AUDIENCE, "client_id": "boats-api", "iat": NOW, "exp": NOW + 60,
        "jti": "j", "sid": "sess_1", "act": {"sub": "per_1"}, "scope": "boats:read bookings:read",
        "urn:comity:organisation": "org_1", "urn:comity:grant": "grant_1", "urn:comity:mode": "act_as", **(more or {}),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def minted(issuer, more=None, header=None, key=EC):
    header = {n: v for n, v in {**HEADER, **(header or {})}.items() if v is not None}
    signed = f"{part(header)}.{part(claims(issuer, more))}"
    algorithm = {EC: "ES256", OTHER: "ES256", ED: "EdDSA", RSA: "RS256"}[key]
    signature = jwt.get_algorithm_by_name(algorithm).sign(signed.encode(), key)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def codes(issuer, *tokens):
    """What one verifier says to each, one after the other."""

    async def judged():
        verifier, found = Verifier(issuer.url, AUDIENCE, now=lambda: NOW), []
        for token in tokens:
            try:
                found.append((await verifier.verify(token)).session)
            except TokenRefused as refused:
                assert not token or token not in str(refused)
                found.append(refused.code)
        return found

    return asyncio.run(judged())


def test_a_token_in_force_says_who_acts_and_keys_are_fetched_once(issuer):
    async def verified():
        verifier = Verifier(issuer.url, AUDIENCE, now=lambda: NOW)
        return (await asyncio.gather(*(verifier.verify(minted(issuer)) for _ in range(20))))[0]

    token = asyncio.run(verified())
    assert (token.subject, token.actor, token.session) == ("org_1", "per_1", "sess_1")
    assert (token.organisation, token.grant, token.mode) == ("org_1", "grant_1", "act_as")
    assert (token.scope, token.expires_at) == (("boats:read", "bookings:read"), NOW + 60)
    assert issuer.asked == ["/.well-known/oauth-authorization-server", "/oauth/jwks"]
    good = [
        minted(issuer, header={"alg": "EdDSA", "kid": "ed"}, key=ED),
        minted(issuer, {"aud": ["x", AUDIENCE]}),
        minted(issuer, header={"typ": "application/AT+JWT"}),
    ]
    assert codes(issuer, *good) == ["sess_1"] * 3


def test_t16_t17_claims_that_are_not_ours_not_now_or_too_long(issuer):
    table = [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": issuer.url + "/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": AUDIENCE + ".evil"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": None}, "audience"),
        ({"iat": NOW - 65, "exp": NOW - 5}, "expired"),
        ({"exp": NOW + 66}, "too_long"),
        ({"exp": NOW + 3600}, "too_long"),
        ({"iat": NOW - 600}, "too_long"),
        ({"iat": NOW + 30}, "not_yet"),
        ({"nbf": NOW + 30}, "not_yet"),
        ({"exp": None}, "claims"),
        ({"exp": str(NOW + 60)}, "claims"),
        ({"exp": True}, "claims"),
        ({"iat": None}, "claims"),
        ({"sid": None}, "claims"),
        ({"urn:comity:organisation": None}, "claims"),
        ({"urn:comity:grant": ""}, "claims"),
        ({"urn:comity:mode": "owner"}, "claims"),
        ({"sub": ""}, "claims"),
        ({"act": None}, "claims"),
        ({"act": "per_1"}, "claims"),
        ({"jti": None}, "claims"),
        ({"client_id": None}, "claims"),
    ]
    assert codes(issuer, *(minted(issuer, more) for more, _ in table)) == [code for _, code in table]


def test_t19_alg_none_key_confusion_jku_wrong_typ_truncated_token(issuer):
    good = minted(issuer)
    head, body, signature = good.split(".")
    pem = EC.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hs = f"{part({**HEADER, 'alg': 'HS256'})}.{body}"
    mac = base64.urlsafe_b64encode(hmac.new(pem, hs.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    evil = {"jku": "https://evil.example", "jwk": jwk(ECAlgorithm, OTHER)}
    table = [
        (f"{part({**HEADER, 'alg': 'none'})}.{body}.", "malformed"),
        (f"{part({**HEADER, 'alg': 'none'})}.{body}.AA", "algorithm"),
        (f"{hs}.{mac}", "algorithm"),
        (minted(issuer, header={"alg": "RS256", "kid": "rsa"}, key=RSA), "algorithm"),
        (minted(issuer, header={"kid": "rsa"}), "unknown_key"),
        (minted(issuer, header={"kid": "enc"}), "unknown_key"),
        (minted(issuer, header={"kid": "ed"}), "algorithm"),
        (minted(issuer, header={"alg": "EdDSA"}, key=ED), "algorithm"),
        (minted(issuer, header={"kid": None}), "malformed"),
        (minted(issuer, header={"crit": ["exp"]}), "malformed"),
        (minted(issuer, header={"typ": "JWT"}), "type"),
        (minted(issuer, header={"typ": "secevent+jwt"}), "type"),
        (minted(issuer, header={"typ": None}), "type"),
        (minted(issuer, header=evil, key=OTHER), "signature"),
        (minted(issuer, key=OTHER), "signature"),
        (f"{head}.{part(claims(issuer, {'sub': 'org_2'}))}.{signature}", "signature"),
        (f"{head}.{body}.{'A' * 86}", "signature"),
        (good[:-22], "signature"),
        (f"{good}.x", "malformed"),
        (f"{head}.{body}", "malformed"),
        (f"{head}.{body}.a+/=", "malformed"),
        (f"{'A' * 9000}.{body}.{signature}", "malformed"),
        (f"{part([])}.{body}.{signature}", "malformed"),
        ("", "malformed"),
        (None, "malformed"),
        ("cmt_session_abc", "malformed"),
    ]
    assert codes(issuer, *(token for token, _ in table)) == [code for _, code in table]


def test_unknown_keys_do_not_make_us_ask_again_and_again(issuer):
    tokens = [minted(issuer, header={"kid": f"k{n}"}) for n in range(20)]
    assert codes(issuer, minted(issuer), *tokens) == ["sess_1"] + ["unknown_key"] * 20
    assert len(issuer.asked) == 2


def test_without_keys_the_answer_is_unavailable_and_metadata_of_another_issuer_gives_none(issuer):
    for wrong in [
        {"issuer": "https://evil.example", "jwks_uri": issuer.url + "/oauth/jwks"},
        {"issuer": issuer.url, "jwks_uri": "https://evil.example/jwks"},
        {"issuer": issuer.url, "jwks_uri": 7},
        {"issuer": issuer.url},
        [],
    ]:
        issuer.metadata = wrong
        assert codes(issuer, minted(issuer)) == ["unavailable"], wrong
    issuer.status = 500
    assert codes(issuer, minted(issuer)) == ["unavailable"]


def test_t16_with_a_clock_that_says_no_number_nothing_is_believed(issuer):
    async def judged():
        with pytest.raises(TokenRefused) as refused:
            await Verifier(issuer.url, AUDIENCE, now=lambda: float("nan")).verify(minted(issuer))
        return refused.value.code

    assert asyncio.run(judged()) == "unavailable"
