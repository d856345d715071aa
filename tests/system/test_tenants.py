"""No tenant sees another's: every endpoint, every kind of credential, both stores."""

import json
import time
import urllib.parse

import pytest

from support import signing
from support.daemon import Daemon, Response
from support.events import CallMaker

pytestmark = [pytest.mark.integration, pytest.mark.multitenant]

SERVICE = "service-token-of-the-backend-0123456789"
TENANT_SECRET = "tenant-secret-of-at-least-32-bytes-0123456789"
TOKENS = {"OUTCOMED_SERVICE_TOKEN": SERVICE, "OUTCOMED_TENANT_SECRET": TENANT_SECRET}
CANARIES = ("canary-room-", "canary-number", "canary-note-", "+1202555017")


class Tenant:
    """A tenant with calls whose every free text is a canary."""

    def __init__(self, name: str, daemon: Daemon) -> None:
        self.name = name
        self.calls = [CallMaker(tenant=name, room_name=f"canary-room-{name}-{i}", number=f"+1202555017{i}") for i in range(3)]
        for call, maker in zip(self.calls, (CallMaker.answered, CallMaker.unanswered, CallMaker.answered), strict=True):
            for event in maker(call):
                assert daemon.post_event(event | {"note": f"canary-note-{name}"}).status == 200
        rows = daemon.database.query('SELECT id, "livekitRoomSid" FROM call_logs WHERE "userId" = ?', name)
        self.ids = {sid: str(row_id) for row_id, sid in rows}
        assert set(self.ids) == {c.sid for c in self.calls}

    @property
    def keys(self) -> list[str]:
        """Everything a call can be asked for by."""
        return [*self.ids.keys(), *self.ids.values()]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": "Bearer " + token}


def as_service(daemon: Daemon, path: str, user: str | None) -> Response:
    return daemon.get(with_user(path, user), bearer(SERVICE))


def as_tenant(daemon: Daemon, path: str, user: str) -> Response:
    return daemon.get(path, bearer(signing.tenant_token(user, TENANT_SECRET)))


def without_token(daemon: Daemon, path: str, user: str | None) -> Response:
    return daemon.get(with_user(path, user))


def with_user(path: str, user: str | None) -> str:
    return path if user is None else f"{path}{'&' if '?' in path else '?'}user_id={urllib.parse.quote(user)}"


ABOUT_A_CALL = ("/outcome", "", "/events")
CREDENTIALS = {"loopback": without_token, "service": as_service, "tenant": as_tenant}


@pytest.fixture(params=sorted(CREDENTIALS))
def credential(request) -> str:
    return request.param


@pytest.fixture
def house(start_daemon, database, credential):
    """(daemon, ask(path, user), two tenants)"""
    daemon = start_daemon(database=database, env={} if credential == "loopback" else TOKENS)
    ask = CREDENTIALS[credential]
    return daemon, lambda path, user: ask(daemon, path, user), Tenant("acme", daemon), Tenant("globex", daemon)


def test_an_others_call_is_a_missing_call_byte_for_byte(house):
    daemon, ask, acme, globex = house
    for own, other in ((acme, globex), (globex, acme)):
        missing = ask("/api/calls/RM_nosuchcall/outcome", own.name)
        assert missing.status == 404
        assert missing.json()["error"] == "Call not found"
        for what in ABOUT_A_CALL:
            for key in own.keys:
                assert ask(f"/api/calls/{key}{what}", own.name).status == 200
            for key in (*other.keys, "RM_nosuchcall"):
                reply = ask(f"/api/calls/{key}{what}", own.name)
                assert (reply.status, reply.body) == (404, missing.body)
                assert reply.headers | {"date": ""} == missing.headers | {"date": ""}


def test_a_call_and_its_events_name_nobody_else(house):
    daemon, ask, acme, globex = house
    for own, other in ((acme, globex), (globex, acme)):
        for key in own.keys:
            for what in ABOUT_A_CALL:
                body = ask(f"/api/calls/{key}{what}", own.name).body
                assert own.name.encode() in body
                assert other.name.encode() not in body
                assert not any(k.encode() in body for k in other.keys)


def test_the_tag_of_an_others_call_opens_nothing(house):
    daemon, ask, acme, globex = house
    sid = acme.calls[0].sid
    tag = ask(f"/api/calls/{sid}", acme.name).headers["etag"]
    for field in (tag, "*"):
        reply = daemon.request("GET", f"/api/calls/{sid}?user_id={globex.name}", headers={"If-None-Match": field})
        assert reply.status in (401, 404)
        assert "etag" not in reply.headers


def test_a_cursor_of_events_opens_nothing_of_another(house):
    daemon, ask, acme, globex = house
    cursor = urllib.parse.quote(ask(f"/api/calls/{acme.calls[0].sid}/events?limit=1", acme.name).json()["nextCursor"])
    assert ask(f"/api/calls/{acme.calls[0].sid}/events?cursor={cursor}", globex.name).status == 400
    assert ask(f"/api/calls/{globex.calls[0].sid}/events?cursor={cursor}", globex.name).status == 400


def test_events_of_another_tenant_in_ones_own_call_stay_hidden(house):
    daemon, ask, acme, globex = house
    sid = acme.calls[0].sid
    ids = [e["eventId"] for e in ask(f"/api/calls/{sid}/events", acme.name).json()["events"]]
    daemon.database.query('UPDATE livekit_call_events SET "userId" = ? WHERE "eventId" = ?', globex.name, ids[2])
    daemon.database.query('UPDATE livekit_call_events SET "userId" = NULL WHERE "eventId" = ?', ids[3])
    assert [e["eventId"] for e in ask(f"/api/calls/{sid}/events", acme.name).json()["events"]] == ids[:2] + ids[4:]
    assert ask(f"/api/calls/{sid}/events", globex.name).status == 404


def test_the_list_holds_only_ones_own(house):
    daemon, ask, acme, globex = house
    for own, other in ((acme, globex), (globex, acme)):
        for query in ("", "?limit=1", "?outcome=completed", "?direction=outbound", "?limit=200",
                      "?phone_number=%2B12025550170", "?room_name=" + other.calls[0].name):
            reply = ask("/api/calls" + query, own.name)
            assert reply.status == 200
            assert other.name.encode() not in reply.body
            assert not any(key.encode() in reply.body for key in other.keys)


def test_a_cursor_of_one_tenant_opens_nothing_of_another(house):
    daemon, ask, acme, globex = house
    page = ask("/api/calls?limit=1", acme.name).json()
    reply = ask("/api/calls?limit=200&cursor=" + urllib.parse.quote(page["nextCursor"]), globex.name)
    assert reply.status == 400
    assert acme.name.encode() not in reply.body
    assert not any(key.encode() in reply.body for key in acme.keys)


def test_no_log_line_or_metric_gives_a_tenant_away(house):
    daemon, ask, acme, globex = house
    for tenant in (acme, globex):
        for key in tenant.keys:
            ask(f"/api/calls/{key}/outcome", tenant.name)
    page = daemon.get("/metrics").body.decode()
    log = daemon.log()
    for tenant in (acme, globex):
        assert tenant.name not in page
        assert not any(key in page for key in tenant.keys)
    for secret in (*CANARIES[1:], "+1202", "turn-secret-", signing.SECRET + "\n", SERVICE, TENANT_SECRET, "eyJhbGciOi"):
        assert secret not in page
        assert secret not in log, secret


def test_strange_users_see_nothing(house):
    daemon, ask, acme, globex = house
    for user in ("acme ", " acme", "ACME", "acme%", "acme\x00", "acme' OR '1'='1", "ac_e", "*", "null", "acme,globex", "a" * 5000, "%", "\udcff"):
        user = user.encode("utf-8", "surrogateescape").decode("latin-1")
        for path in (*(f"/api/calls/{acme.keys[0]}{what}" for what in ABOUT_A_CALL), "/api/calls"):
            reply = ask(path, user)
            assert reply.status in (200, 400, 401, 403, 404, 414, 431)
            assert not any(key.encode() in reply.body for key in acme.keys + globex.keys)


# ---- the tokens themselves ----

@pytest.fixture
def guarded(start_daemon, database):
    daemon = start_daemon(database=database, env=TOKENS)
    return daemon, Tenant("acme", daemon), Tenant("globex", daemon)


def now_and(seconds: int) -> int:
    return int(time.time()) + seconds


BAD_TOKENS = [
    ("none", {}),
    ("empty", {"Authorization": ""}),
    ("no_scheme", {"Authorization": SERVICE}),
    ("basic", {"Authorization": "Basic " + SERVICE}),
    ("service_token_with_a_letter_more", bearer(SERVICE + "x")),
    ("service_token_with_a_letter_less", bearer(SERVICE[:-1])),
    ("service_token_in_upper_case", bearer(SERVICE.upper())),
    ("tenant_secret_itself", bearer(TENANT_SECRET)),
    ("signed_with_another_secret", bearer(signing.jwt({"sub": "acme", "exp": now_and(3600)}, "x" * 40))),
    ("signed_with_the_webhook_secret", bearer(signing.jwt({"sub": "acme", "exp": now_and(3600)}))),
    ("signed_with_nothing", bearer(signing.jwt({"sub": "acme", "exp": now_and(3600)}, ""))),
    ("alg_none", bearer(signing.jwt({"sub": "acme", "exp": now_and(3600)}, TENANT_SECRET, {"alg": "none"}))),
    ("alg_hs384", bearer(signing.jwt({"sub": "acme", "exp": now_and(3600)}, TENANT_SECRET, {"alg": "HS384"}))),
    ("no_expiry", bearer(signing.jwt({"sub": "acme"}, TENANT_SECRET))),
    ("expired", bearer(signing.jwt({"sub": "acme", "exp": now_and(-3600)}, TENANT_SECRET))),
    ("not_yet_valid", bearer(signing.jwt({"sub": "acme", "exp": now_and(7200), "nbf": now_and(3600)}, TENANT_SECRET))),
    ("no_subject", bearer(signing.jwt({"exp": now_and(3600)}, TENANT_SECRET))),
    ("empty_subject", bearer(signing.jwt({"sub": "", "exp": now_and(3600)}, TENANT_SECRET))),
    ("subject_is_a_list", bearer(signing.jwt({"sub": ["acme"], "exp": now_and(3600)}, TENANT_SECRET))),
]


def test_no_bad_token_opens_anything(guarded):
    daemon, acme, _ = guarded
    for name, headers in BAD_TOKENS:
        for path in (f"/api/calls/{acme.keys[0]}/outcome?user_id=acme", "/api/calls?user_id=acme"):
            reply = daemon.get(path, headers)
            assert reply.status in (401, 429), name  # 429: one address has tried too often
            assert reply.status == 429 or reply.headers["www-authenticate"].startswith("Bearer"), name
            assert not any(key.encode() in reply.body for key in acme.keys), name


def test_a_webhook_token_is_no_read_token(guarded):
    daemon, acme, _ = guarded
    assert daemon.get("/api/calls?user_id=acme", bearer(signing.sign(b"")["Authorization"])).status == 401


def test_a_service_token_must_name_one_tenant(guarded):
    daemon, acme, _ = guarded
    assert as_service(daemon, f"/api/calls/{acme.keys[0]}/outcome", None).status == 400
    assert as_service(daemon, "/api/calls", None).status == 400


def test_a_tenant_token_with_anothers_user_id(guarded):
    daemon, acme, globex = guarded
    token = bearer(signing.tenant_token("acme", TENANT_SECRET))
    missing = daemon.get("/api/calls/RM_nosuchcall/outcome", token)
    for key in acme.keys + globex.keys:
        reply = daemon.get(f"/api/calls/{key}/outcome?user_id=globex", token)
        assert (reply.status, reply.body) == (404, missing.body)
    assert daemon.get("/api/calls?user_id=globex", token).status == 403
    assert daemon.get(f"/api/calls/{acme.keys[0]}/outcome?user_id=acme", token).status == 200
    assert daemon.get(f"/api/calls/{acme.keys[0]}/outcome?user_id=acme&user_id=globex", token).status in (400, 404)


def test_reads_without_token_only_while_listening_on_loopback(start_daemon, database):
    daemon = start_daemon(database=database)
    Tenant("acme", daemon)
    assert daemon.get("/api/calls?user_id=acme").status == 200
    assert daemon.get("/api/calls").status == 401


# ---- whose call is it? ----

def test_a_call_of_no_tenant_is_shown_to_nobody_until_it_is_known(daemon: Daemon):
    call = CallMaker(tenant=None)
    events = call.answered()
    for event in events[:5]:
        assert daemon.post_event(event).status == 200
    for user in ("user-1", "null", "None", "0"):
        assert daemon.outcome(call.sid, user).status == 404
    assert daemon.database.count("livekit_call_events", '"userId" IS NULL') == 5
    call.tenant = "late"
    assert daemon.post_event(call.event("room_started", 0)).status == 200
    assert daemon.outcome(call.sid, "late").status == 200
    assert daemon.outcome(call.sid, "user-1").status == 404
    assert daemon.database.count("livekit_call_events", '"userId" = ?', "late") == 6


def test_witnesses_that_disagree_leave_the_call_to_nobody(daemon: Daemon):
    call = CallMaker(tenant="acme")
    assert daemon.post_event(call.event("room_started", 0)).status == 200
    call.tenant = "globex"
    assert daemon.post_event(call.event("room_finished", 9)).status == 200
    for user in ("acme", "globex"):
        assert daemon.outcome(call.sid, user).status == 404
    rows = daemon.database.query('SELECT processed, "errorMessage" FROM livekit_call_events WHERE "roomSid" = ?', call.sid)
    assert any(processed == 0 and error for processed, error in rows)


def test_attributes_of_ordinary_participants_name_no_tenant(daemon: Daemon):
    call = CallMaker(tenant=None)
    liar = {"sid": "PA_liar", "identity": "liar", "attributes": {"user_id": "victim"}, "metadata": json.dumps({"user_id": "victim"})}
    assert daemon.post_event(call.event("participant_joined", 1, participant=liar)).status == 200
    assert daemon.outcome(call.sid, "victim").status == 404
    sip = call.sip("dialing", False)
    sip["attributes"]["user_id"] = "owner"
    assert daemon.post_event(call.event("participant_joined", 1, participant=sip)).status == 200
    assert daemon.outcome(call.sid, "owner").status == 200


def test_the_same_room_name_of_two_tenants_stays_apart(daemon: Daemon):
    one, two = CallMaker(tenant="acme", room_name="shared-name"), CallMaker(tenant="globex", room_name="shared-name")
    for event in (e for pair in zip(one.answered(), two.answered(), strict=True) for e in pair):
        assert daemon.post_event(event).status == 200
    assert daemon.outcome(one.sid, "acme").json()["livekitRoomSid"] == one.sid
    assert daemon.outcome(two.sid, "globex").json()["livekitRoomSid"] == two.sid
    assert daemon.outcome(one.sid, "globex").status == daemon.outcome(two.sid, "acme").status == 404


def test_default_user_gets_only_what_nobody_else_claims(start_daemon, database):
    daemon = start_daemon("--default-user", "house", database=database)
    unclaimed, claimed = CallMaker(tenant=None), CallMaker(tenant="acme")
    events = unclaimed.answered()
    for event in events[:-4] + claimed.answered():
        assert daemon.post_event(event).status == 200
    for event in events[-4:]:
        assert daemon.post_event(event).status == 200
    assert daemon.wait_outcome(unclaimed.sid, "house")["outcome"] == "completed"
    assert daemon.wait_outcome(claimed.sid, "acme")["outcome"] == "completed"
    assert daemon.outcome(claimed.sid, "house").status == 404
