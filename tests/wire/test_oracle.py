"""`outcomed verify` and LiveKit's own Python SDK judge the same requests. Neither takes a forgery; what one signs the other takes. Where they
differ, outcomed is the stricter one, and the table says so."""

import base64
import datetime
import hashlib
import hmac
import json
import pathlib
import re
import subprocess
import time

import pytest
from livekit import api

from support import captures as capture_files
from support import daemon as daemons
from support import signing

pytestmark = pytest.mark.unit

BODY = b'{"event":"room_started", "room":{"sid":"RM_1", "name":"r\xc3\xa9"}, "id":"EV_1", "createdAt":"1795352847"}'


def claims(**changes) -> dict:
    """Good claims with these changes; None takes one out."""
    return {k: v for k, v in (signing.webhook_claims(BODY) | changes).items() if v is not None}


def from_now(seconds: int) -> int:
    return int(time.time()) + seconds


def sdk_token(**changes) -> str:
    digest = base64.b64encode(hashlib.sha256(changes.get("body", BODY)).digest()).decode()
    token = api.AccessToken(changes.get("key", signing.KEY), changes.get("secret", signing.SECRET))
    return token.with_sha256(digest).with_ttl(datetime.timedelta(minutes=5)).to_jwt()


def sdk_takes(body: bytes, token: str) -> bool:
    try:
        api.WebhookReceiver(api.TokenVerifier(signing.KEY, signing.SECRET)).receive(body.decode(), token)
    except Exception:  # noqa: BLE001 - every refusal is an exception of some library's own
        return False
    return True


@pytest.fixture
def verify(outcomed_binary: pathlib.Path, tmp_path: pathlib.Path):
    """verify(body, headers, *args, raw=False, env={}) gives (was it taken, the name of the check that failed)."""

    def run(body: bytes, headers: dict[str, str], *args: str, raw: bool = False, env: dict[str, str] | None = None) -> tuple[bool, str | None]:
        path = tmp_path / "request"
        if raw:
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            path.write_bytes(f"POST /hook HTTP/1.1\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)
        else:
            path.write_text(json.dumps({"headers": headers, "body": body.decode()}), encoding="utf-8")
        done = subprocess.run([outcomed_binary, "verify", *args, path], env=daemons.environment() | (env or {}), cwd=tmp_path,
                              capture_output=True, timeout=60, check=False)
        output = done.stdout.decode() + done.stderr.decode()
        assert done.returncode in (0, 1), output
        assert not re.search(r"Sanitizer|runtime error", output)
        failed = re.search(r"^refused: (\w+)", output, re.MULTILINE)
        assert (done.returncode == 0) == (failed is None), output
        return done.returncode == 0, failed and failed.group(1)

    return run


@pytest.mark.parametrize("raw", [False, True], ids=["json", "http"])
@pytest.mark.parametrize("prefix", ["", "Bearer "])
def test_what_the_sdk_signs_verifies(verify, raw: bool, prefix: str):
    assert sdk_takes(BODY, sdk_token())
    assert verify(BODY, {"Authorization": prefix + sdk_token()}, raw=raw) == (True, None)


def test_a_recorded_request_verifies_as_of_its_signing(verify):
    delivery = capture_files.all_captures()[0].deliveries[0]
    assert verify(delivery.body, delivery.headers, "--at-signing-time") == (True, None)
    assert verify(delivery.body + b" ", delivery.headers, "--at-signing-time") == (False, "body_altered")


def changed_payload() -> str:
    header, _, mac = sdk_token().split(".")
    return ".".join([header, signing.base64url(json.dumps(claims(iss=signing.KEY, exp=from_now(999))).encode()), mac])


def participant_token() -> str:
    grants = api.VideoGrants(room_join=True, room="r")
    return api.AccessToken(signing.KEY, signing.SECRET).with_identity("u").with_grants(grants).to_jwt()


OTHER_HASH = signing.body_hash(b"another body")

# name: what makes the token, the check that fails here, whether the SDK takes it
REFUSED = {
    "participant_token": (participant_token, "no_body_hash", False),
    "wrong_secret": (lambda: sdk_token(secret="another"), "secret_mismatch", False),
    "wrong_key": (lambda: sdk_token(key="another"), "unknown_key", False),
    "other_body": (lambda: sdk_token(body=b"another body"), "body_altered", False),
    "changed_payload": (changed_payload, "secret_mismatch", False),
    "no_signature_part": (lambda: sdk_token().rsplit(".", 1)[0] + ".", "malformed_token", False),
    "alg_none": (lambda: signing.jwt(claims(), header={"alg": "none", "typ": "JWT"}), "wrong_algorithm", False),
    "alg_hs512": (lambda: signing.jwt(claims(), header={"alg": "HS512", "typ": "JWT"}), "wrong_algorithm", False),
    "alg_rs256": (lambda: signing.jwt(claims(), header={"alg": "RS256", "typ": "JWT"}), "wrong_algorithm", False),
    "no_alg": (lambda: signing.jwt(claims(), header={"typ": "JWT"}), "wrong_algorithm", False),
    "critical_header": (lambda: signing.jwt(claims(), header={"alg": "HS256", "crit": ["x"]}), "wrong_algorithm", False),
    "expired": (lambda: signing.jwt(claims(exp=from_now(-120))), "expired", False),
    "not_yet_valid": (lambda: signing.jwt(claims(nbf=from_now(120))), "not_yet_valid", False),
    "issued_in_the_future": (lambda: signing.jwt(claims(iat=from_now(120))), "not_yet_valid", False),
    "no_issuer": (lambda: signing.jwt(claims(iss=None)), "unknown_key", False),
    "hash_of_another_body": (lambda: signing.jwt(claims(sha256=OTHER_HASH)), "body_altered", False),
    "no_hash": (lambda: signing.jwt(claims(sha256=None)), "no_body_hash", False),
    "hash_that_is_no_text": (lambda: signing.jwt(claims(sha256=5)), "malformed_token", False),
    "empty_hash": (lambda: signing.jwt(claims(sha256="")), "body_altered", False),
    "not_a_token": (lambda: "a.b.c", "malformed_token", False),
    "basic": (lambda: "Basic dXNlcjpwYXNz", "malformed_token", False),
    "expiry_as_text": (lambda: signing.jwt(claims(exp=str(from_now(300)))), "malformed_token", True),
    "no_expiry": (lambda: signing.jwt(claims(exp=None)), "no_expiry", False),
}


@pytest.mark.parametrize("name", REFUSED)
def test_forgeries_are_refused_by_the_check_that_names_them(verify, name: str):
    make, check, by_sdk = REFUSED[name]
    token = make()
    assert verify(BODY, {"Authorization": token}) == (False, check)
    assert sdk_takes(BODY, token) == by_sdk


def test_the_older_form_needs_its_switch(verify):
    mac = hmac.new(signing.SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    assert verify(BODY, {"X-LiveKit-Signature": mac}) == (False, "wrong_header")
    switch = {"OUTCOMED_ACCEPT_HMAC": "1"}
    assert verify(BODY, {"X-LiveKit-Signature": mac}, env=switch) == (True, None)
    assert verify(BODY, {"X-LiveKit-Signature": "sha256=" + mac}, env=switch) == (False, "hmac_mismatch")
    assert verify(BODY + b" ", {"X-LiveKit-Signature": mac}, env=switch) == (False, "hmac_mismatch")
    assert verify(BODY, {"X-LiveKit-Signature": mac, "Authorization": "x"}, env=switch) == (False, "malformed_token")


def test_no_header_at_all_is_refused(verify):
    assert verify(BODY, {"Content-Type": "application/webhook+json"}) == (False, "no_signature")
