"""Forged and odd requests: what each gets, what is counted, and that nothing of a refused one is kept."""

import base64
import hashlib
import hmac
import json
import re
import time

import pytest

from support import signing
from support.daemon import Daemon
from support.events import CallMaker, new_id

pytestmark = pytest.mark.integration


def genuine() -> bytes:
    return json.dumps(CallMaker().event("room_started", 0)).encode()


def claims(body: bytes, **changes) -> dict:
    """A webhook's claims with some replaced; a value of None removes one."""
    return {k: v for k, v in (signing.webhook_claims(body) | changes).items() if v is not None}


def with_claims(**changes):
    """Headers made when they are sent: a claim that is a function is called then."""
    return lambda body: {"Authorization": signing.jwt(claims(body, **{k: v() if callable(v) else v for k, v in changes.items()}))}


def in_s(seconds: int):
    return lambda: int(time.time()) + seconds


def flipped(body: bytes) -> dict:
    token = signing.sign(body)["Authorization"]
    at = token.rindex(".") + 5
    return {"Authorization": token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1:]}


def altered_payload(body: bytes) -> dict:
    head, _, mac = signing.sign(body)["Authorization"].split(".")
    payload = signing.base64url(json.dumps(claims(body, exp=in_s(9999)())).encode())
    return {"Authorization": f"{head}.{payload}.{mac}"}


def header(alg: str, **more):
    return lambda body: {"Authorization": signing.jwt(claims(body), header={"alg": alg, "typ": "JWT"} | more)}


def unsigned(body: bytes) -> dict:
    token = signing.jwt(claims(body), header={"alg": "none", "typ": "JWT"})
    return {"Authorization": token[:token.rindex(".") + 1]}


def old_hmac(body: bytes) -> dict:
    return {"X-LiveKit-Signature": hmac.new(signing.SECRET.encode(), body, hashlib.sha256).hexdigest()}


def participant(body: bytes) -> dict:
    grants = {"sub": "user-7", "video": {"roomJoin": True, "room": "r"}}
    return {"Authorization": signing.jwt({"iss": signing.KEY, "exp": in_s(300)(), "nbf": in_s(0)()} | grants)}


def raw_token(text: str):
    return lambda body: {"Authorization": text}


def token_and(change):
    return lambda body: {"Authorization": change(signing.sign(body)["Authorization"])}


# name, headers made from the body, the check that must be counted (any of these)
FORGED = [
    ("no_header", lambda body: {}, {"no_signature"}),
    ("empty_header", raw_token(""), {"no_signature", "malformed_token"}),
    ("old_hmac_header_not_enabled", old_hmac, {"wrong_header"}),
    ("garbage", raw_token("garbage"), {"malformed_token"}),
    ("basic_credentials", raw_token("Basic ZGV2a2V5OnNlY3JldA=="), {"malformed_token"}),
    ("only_bearer", raw_token("Bearer "), {"malformed_token", "no_signature"}),
    ("two_parts", token_and(lambda t: t[:t.rindex(".")]), {"malformed_token"}),
    ("four_parts", token_and(lambda t: t + ".e30"), {"malformed_token"}),
    ("padded_parts", token_and(lambda t: t + "="), {"malformed_token", "secret_mismatch"}),
    ("space_inside", token_and(lambda t: t.replace(".", ". ", 1)), {"malformed_token"}),
    ("nine_thousand_bytes", token_and(lambda t: t + "A" * 9000), {"malformed_token"}),
    ("payload_is_no_object", lambda body: {"Authorization": signing.jwt([1])}, {"malformed_token"}),
    ("exp_is_text", with_claims(exp="tomorrow"), {"malformed_token"}),
    ("alg_none", unsigned, {"wrong_algorithm", "malformed_token"}),
    ("alg_hs512", header("HS512"), {"wrong_algorithm"}),
    ("alg_rs256", header("RS256"), {"wrong_algorithm"}),
    ("alg_lower_case", header("hs256"), {"wrong_algorithm"}),
    ("unknown_key", with_claims(iss="APIstranger"), {"unknown_key"}),
    ("no_key_named", with_claims(iss=None), {"unknown_key"}),
    ("key_name_with_suffix", with_claims(iss=signing.KEY + "2"), {"unknown_key"}),
    ("wrong_secret", lambda body: {"Authorization": signing.jwt(claims(body), secret="wrong")}, {"secret_mismatch"}),
    ("empty_secret", lambda body: {"Authorization": signing.jwt(claims(body), secret="")}, {"secret_mismatch"}),
    ("one_bit_of_the_mac", flipped, {"secret_mismatch"}),
    ("payload_altered_after_signing", altered_payload, {"secret_mismatch"}),
    ("no_expiry", with_claims(exp=None), {"no_expiry"}),
    ("expired_beyond_leeway", with_claims(exp=in_s(-65), nbf=in_s(-400), iat=in_s(-400)), {"expired"}),
    ("not_yet_valid_beyond_leeway", with_claims(nbf=in_s(600), iat=in_s(600), exp=in_s(900)), {"not_yet_valid"}),
    ("participants_token", participant, {"no_body_hash"}),
    ("hash_removed", with_claims(sha256=None), {"no_body_hash"}),
    ("hash_of_another_body", with_claims(sha256=signing.body_hash(b"another")), {"body_altered"}),
    ("hash_empty", with_claims(sha256=""), {"no_body_hash", "body_altered"}),
    ("hash_in_hex", lambda body: with_claims(sha256=hashlib.sha256(body).hexdigest())(body), {"body_altered"}),
    ("hash_truncated", lambda body: with_claims(sha256=signing.body_hash(body)[:8])(body), {"body_altered"}),
    ("hash_of_rewritten_json", lambda body: with_claims(
        sha256=signing.body_hash(json.dumps(json.loads(body), indent=1).encode()))(body), {"body_altered"}),
]


@pytest.mark.parametrize(("name", "headers", "checks"), FORGED, ids=[f[0] for f in FORGED])
def test_forged_gets_401_and_changes_nothing(shared_daemon: Daemon, name, headers, checks):
    body = genuine()
    before, stored = shared_daemon.metrics(), shared_daemon.database.count("livekit_call_events")
    reply = shared_daemon.post(body, headers(body))
    after = shared_daemon.metrics()
    assert reply.status == 401
    assert reply.headers["content-type"].startswith("application/problem+json")
    assert "content-length" in reply.headers
    assert not any(check.encode() in reply.body for check in checks), "the reply must not say which check failed"
    counted = {check for check in checks
               if after[f'outcomed_signature_checks_total{{check="{check}"}}'] == before.get(
                   f'outcomed_signature_checks_total{{check="{check}"}}', 0) + 1}
    assert len(counted) == 1
    assert counted.pop() in shared_daemon.log()
    assert shared_daemon.database.count("livekit_call_events") == stored
    assert shared_daemon.database.count("livekit_call_events", '"eventId" = ?', json.loads(body)["id"]) == 0


def test_every_refused_signature_gets_the_same_bytes(shared_daemon: Daemon):
    replies = set()
    for _, headers, _ in FORGED:
        body = genuine()
        replies.add(shared_daemon.post(body, headers(body)).body)
    assert len(replies) == 1


TOLERATED = [
    ("bearer_prefix", token_and(lambda t: "Bearer " + t)),
    ("expired_within_leeway", with_claims(exp=in_s(-30), nbf=in_s(-330))),
    ("early_within_leeway", with_claims(nbf=in_s(30), iat=in_s(30))),
    ("no_iat_as_old_servers", with_claims(iat=None)),
    ("no_nbf", with_claims(nbf=None)),
    ("more_claims_than_known", with_claims(video={"roomAdmin": True}, jti="x")),
]


@pytest.mark.parametrize(("name", "headers"), TOLERATED, ids=[t[0] for t in TOLERATED])
def test_genuine_with_an_unusual_token_is_taken(shared_daemon: Daemon, name, headers):
    body = genuine()
    reply = shared_daemon.post(body, headers(body))
    assert (reply.status, reply.json()["status"]) == (200, "processed")
    assert shared_daemon.database.count("livekit_call_events", '"eventId" = ?', json.loads(body)["id"]) == 1


# ---- genuine, but odd ----

def event(**changes) -> dict:
    made = CallMaker().event("room_started", 0) | changes
    return {k: v for k, v in made.items() if v is not Ellipsis}


def text(value) -> bytes:
    return json.dumps(value).encode()


def nested(depth: int) -> bytes:
    return b'{"event":"room_started","id":"%s","x":%s%s}' % (new_id("EV").encode(), b"[" * depth, b"]" * depth)


QUARANTINED = {"quarantined"}
TAKEN = {"processed", "ignored"}
ANY = QUARANTINED | TAKEN

# name, body maker, accepted "status", kept in "rawBody" (True), "rawPayload" (False) or either (None)
ODD = [
    ("not_json", lambda: b"hello " + new_id("x").encode(), QUARANTINED, True),
    ("empty_body", lambda: b"", QUARANTINED, True),
    ("only_a_brace", lambda: b"{" + b" " * (int(time.time_ns()) % 97), QUARANTINED, True),
    ("garbage_after_the_object", lambda: text(event()) + b"}", QUARANTINED, True),
    ("byte_order_mark", lambda: b"\xef\xbb\xbf" + text(event()), QUARANTINED, True),
    ("an_array", lambda: text([event()]), QUARANTINED, None),
    ("a_string", lambda: text(new_id("x")), QUARANTINED, None),
    ("a_number", lambda: b"%d" % time.time_ns(), QUARANTINED, None),
    ("null", lambda: b"null" + b" " * (int(time.time_ns()) % 89), QUARANTINED, None),
    ("no_id", lambda: text(event(id=...)), QUARANTINED, None),
    ("empty_id", lambda: text(event(id="")), QUARANTINED, None),
    ("id_is_a_number", lambda: text(event(id=12)), QUARANTINED, None),
    ("id_of_300_bytes", lambda: text(event(id=new_id("EV").ljust(300, "x"))), QUARANTINED, None),
    ("no_event", lambda: text(event(event=...)), QUARANTINED, None),
    ("event_is_an_object", lambda: text(event(event={})), QUARANTINED, None),
    ("event_of_tomorrow", lambda: text(event(event="room_paused")), TAKEN, False),
    ("room_is_a_string", lambda: text(event(room="r")), QUARANTINED, None),
    ("participant_is_an_array", lambda: text(event(event="participant_joined", participant=[])), QUARANTINED, None),
    ("created_at_is_an_object", lambda: text(event(createdAt={})), QUARANTINED, None),
    ("created_at_beyond_int64", lambda: text(event(createdAt="99999999999999999999")), QUARANTINED, None),
    ("created_at_1e400", lambda: text(event()).replace(b'"createdAt": "', b'"createdAt": 1e400, "was": "'), QUARANTINED, None),
    ("created_at_is_words", lambda: text(event(createdAt="yesterday")), QUARANTINED, None),
    ("created_at_nan", lambda: text(event(createdAt=float("nan"))), QUARANTINED, True),
    ("nul_in_a_text", lambda: text(event(event="participant_joined", participant={"sid": new_id("PA"), "identity": "a\x00b"})),
     QUARANTINED, None),
    ("lone_surrogate", lambda: text(event()).replace(b'"id"', b'"note": "\\ud800", "id"', 1), QUARANTINED, None),
    ("invalid_utf8", lambda: text(event()).replace(b'"id"', b'"note": "\xff\xfe", "id"', 1), QUARANTINED, True),
    ("overlong_utf8", lambda: text(event()).replace(b'"id"', b'"note": "\xc0\x80", "id"', 1), QUARANTINED, True),
    ("duplicate_key", lambda: text(event()).replace(b'"id"', b'"event": "room_finished", "id"', 1), QUARANTINED, None),
    ("nested_5000_deep", lambda: nested(5000), QUARANTINED, None),
    ("three_mib_of_metadata", lambda: text(event(note="m" * (3 << 20))), TAKEN, False),
    ("no_room", lambda: text(event(room=...)), ANY, False),
    ("null_room", lambda: text(event(room=None)), ANY, False),
    ("empty_room", lambda: text(event(room={})), ANY, False),
    ("room_never_seen", lambda: text(CallMaker().event("room_finished", 5)), TAKEN, False),
    ("tenant_unknown", lambda: text(CallMaker(tenant=None).event("room_started", 0)), TAKEN, False),
    ("metadata_is_no_json", lambda: text(event(room=CallMaker().room() | {"metadata": "{not json"})), TAKEN, False),
    ("numbers_instead_of_strings", lambda: text(event(createdAt=int(time.time()))), TAKEN, False),
    ("exponent", lambda: text(event()).replace(b'"createdAt": "', b'"createdAt": 1.79e9, "was": "'), TAKEN, False),
    ("snake_case", lambda: text(event(createdAt=..., created_at="1790000000")), TAKEN, False),
    ("enums_as_numbers", lambda: text(event(event="participant_joined", participant={
        "sid": new_id("PA"), "identity": "i", "kind": 3, "state": 2, "disconnectReason": 12})), TAKEN, False),
    ("enums_of_tomorrow", lambda: text(event(event="participant_left", participant={
        "sid": new_id("PA"), "identity": "i", "kind": "HOLOGRAM", "disconnectReason": "BOREDOM"})), TAKEN, False),
    ("null_for_every_field", lambda: text(event(participant=None, track=None, egressInfo=None, numDropped=None)), TAKEN, False),
]


def journal_row(daemon: Daemon, body: bytes) -> tuple:
    rows = daemon.database.query(
        'SELECT "rawBody", "rawPayload", processed, "errorMessage", "eventId" FROM livekit_call_events WHERE "bodyHash" = ?',
        hashlib.sha256(body).hexdigest())
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize(("name", "make", "statuses", "as_bytes"), ODD, ids=[o[0] for o in ODD])
def test_odd_but_genuine_gets_200_and_is_kept(shared_daemon: Daemon, name, make, statuses, as_bytes):
    body = make()
    before = shared_daemon.metrics()
    reply = shared_daemon.post(body)
    assert reply.status == 200
    answer = reply.json()
    assert answer["status"] in statuses
    raw_body, payload, processed, error, event_id = journal_row(shared_daemon, body)
    assert answer["event_id"] == event_id
    if answer["status"] == "quarantined":
        assert processed == 0 and error
        result = 'outcomed_event_results_total{result="quarantined"}'
        assert shared_daemon.metrics()[result] == before.get(result, 0) + 1
    if as_bytes is not None:
        assert (raw_body is not None) == as_bytes
    if raw_body is not None:
        without_secrets = re.sub(rb"turn-secret-\w+", lambda m: b"*" * len(m[0]), body)
        assert bytes(raw_body) == without_secrets, "the exact bytes can be had back, but for secrets"
        assert payload is None
    else:
        kept = payload if not isinstance(payload, str) or shared_daemon.database.kind == "postgres" else json.loads(payload)
        sent = json.loads(body)
        for part in sent if isinstance(sent, list) else [sent]:
            if isinstance(part, dict) and isinstance(part.get("room"), dict):
                part["room"].pop("turnPassword", None)
        if name not in ("duplicate_key", "created_at_1e400"):
            assert kept == sent
    again = shared_daemon.post(body)
    assert again.status == 200
    assert shared_daemon.database.count("livekit_call_events", '"bodyHash" = ?', hashlib.sha256(body).hexdigest()) == 1


def test_turn_password_is_kept_nowhere(shared_daemon: Daemon):
    call = CallMaker()
    for e in call.answered():
        assert shared_daemon.post_event(e).status == 200
    rows = shared_daemon.database.query('SELECT "rawPayload", "rawBody" FROM livekit_call_events WHERE "roomSid" = ?', call.sid)
    assert len(rows) == 10
    assert "turn-secret-" not in str(rows)
    body = json.dumps(call.event("room_started", 0, note="NUL")).replace("NUL", "\\u0000").encode()  # no JSON for a database: kept as bytes
    assert shared_daemon.post(body).json()["status"] == "quarantined"
    raw_body = bytes(journal_row(shared_daemon, body)[0])
    assert len(raw_body) == len(body)
    assert b"turn-secret-" not in raw_body
    assert "turn-secret-" not in shared_daemon.log()


# ---- the limit ----

def test_body_over_the_limit_gets_413_and_says_that_it_is_lost(start_daemon, database):
    daemon = start_daemon("--max-body", "100000", database=database)
    fits = text(event(note="x" * 90_000))
    assert daemon.post(fits).status == 200
    too_long = text(event(note="x" * 100_001))
    assert daemon.post(too_long).status == 413
    assert "LiveKit will not send it again" in daemon.log()
    assert daemon.database.count("livekit_call_events") == 1


def test_chunked_body_over_the_limit_gets_413(start_daemon):
    daemon = start_daemon("--max-body", "10000")
    head = b"POST /api/webhooks/call_completed HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = daemon.raw(head + b"".join(b"1000\r\n" + b"x" * 4096 + b"\r\n" for _ in range(4)) + b"0\r\n\r\n", timeout_s=3)
    assert reply.split(b" ", 2)[1] == b"413"
    assert daemon.get("/livez").status == 200


# ---- the older module's signature ----

class TestOldSignature:
    @pytest.fixture
    def old(self, start_daemon, database) -> Daemon:
        return start_daemon(database=database, env={"OUTCOMED_ACCEPT_HMAC": "1"})

    def test_is_taken_when_enabled(self, old: Daemon):
        body = genuine()
        assert old.post(body, old_hmac(body)).json()["status"] == "processed"
        assert old.database.query("SELECT source FROM livekit_call_events") == [("hmac",)]

    def test_with_iso_times(self, old: Daemon):
        body = text(event(createdAt="2026-11-22T13:12:19Z"))
        assert old.post(body, old_hmac(body)).json()["status"] == "processed"
        assert old.database.query("SELECT timestamp FROM livekit_call_events") == [(1795353139,)]

    def test_wrong_one_is_refused(self, old: Daemon):
        body = genuine()
        assert old.post(body, old_hmac(body + b" ")).status == 401
        assert old.database.count("livekit_call_events") == 0
        assert old.metrics()['outcomed_signature_checks_total{check="hmac_mismatch"}'] == 1

    def test_a_participants_token_signs_nothing(self, old: Daemon):
        """It is an HMAC under the same secret, and whoever joins a room is given it."""
        token = signing.jwt({"iss": signing.KEY, "sub": "guest", "exp": int(time.time()) + 3600, "video": {"roomJoin": True, "room": "r"}})
        body, mac = token.rsplit(".", 1)
        reply = old.post(body.encode(), {"X-LiveKit-Signature": base64.urlsafe_b64decode(mac + "=").hex()})
        assert reply.status == 401
        assert old.database.count("livekit_call_events") == 0

    def test_with_an_empty_authorization_it_is_still_the_older_form(self, old: Daemon):
        body = text(event(createdAt="2026-11-22T13:12:19Z"))
        assert old.post(body, {"Authorization": ""} | old_hmac(body)).json()["status"] == "processed"
        assert old.database.query("SELECT source FROM livekit_call_events") == [("hmac",)]

    def test_jwt_still_counts_first(self, old: Daemon):
        body = genuine()
        wrong = {"Authorization": signing.jwt(claims(body), secret="wrong")}
        assert old.post(body, wrong | old_hmac(body)).status in (200, 401)
        assert old.post(genuine(), wrong).status == 401


# ---- paths, methods, queries ----

WRONG = [
    ("unknown_path", "GET", "/nothing", {404}),
    ("path_below_the_receiver", "POST", "/api/webhooks/call_completed/x", {404}),
    ("get_on_the_receiver", "GET", "/api/webhooks/call_completed", {405}),
    ("delete_on_the_receiver", "DELETE", "/api/webhooks/call_completed", {405}),
    ("post_on_health", "POST", "/api/webhooks/call_completed/health", {405}),
    ("put_on_an_outcome", "PUT", "/api/calls/RM_x/outcome?user_id=u", {405}),
    ("unknown_method", "BREW", "/livez", {405, 501}),
    ("outcome_without_user", "GET", "/api/calls/RM_x/outcome", {401}),
    ("outcome_with_empty_user", "GET", "/api/calls/RM_x/outcome?user_id=", {400, 401}),
    ("outcome_of_nothing", "GET", "/api/calls/RM_x/outcome?user_id=u", {404}),
    ("list_without_user", "GET", "/api/calls", {401}),
    ("bad_cursor", "GET", "/api/calls?user_id=u&cursor=%21%21", {400}),
    ("forged_cursor", "GET", "/api/calls?user_id=u&cursor=" + base64.urlsafe_b64encode(b"x" * 40).decode(), {400}),
    ("limit_zero", "GET", "/api/calls?user_id=u&limit=0", {400}),
    ("limit_words", "GET", "/api/calls?user_id=u&limit=ten", {400}),
    ("outcome_not_in_the_list", "GET", "/api/calls?user_id=u&outcome=splendid", {400}),
    ("time_not_a_time", "GET", "/api/calls?user_id=u&from=yesterday", {400}),
]


@pytest.mark.parametrize(("name", "method", "path", "codes"), WRONG, ids=[w[0] for w in WRONG])
def test_wrong_request_gets_a_problem(shared_daemon: Daemon, name, method, path, codes):
    reply = shared_daemon.request(method, path, b"" if method in ("POST", "PUT") else None)
    assert reply.status in codes
    assert reply.headers["content-type"].startswith("application/problem+json")
    problem = reply.json()
    assert problem["status"] == reply.status
    assert problem["error"] and problem["title"]
    if reply.status == 405:
        assert reply.headers["allow"]
