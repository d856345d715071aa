"""POST /api/marks: by each name of a call, before its first event and after its last, corrected, sent twice, refused, and never another tenant's."""

import concurrent.futures
import gzip
import itertools
import json
import time
import urllib.parse

import pytest

from support import signing
from support.daemon import Daemon, Response
from support.events import CallMaker, new_id

pytestmark = pytest.mark.integration

MARKS = "/api/marks"
SERVICE = "service-token-of-the-backend-0123456789"
TENANT_SECRET = "tenant-secret-of-at-least-32-bytes-0123456789"
TOKENS = {"OUTCOMED_SERVICE_TOKEN": SERVICE, "OUTCOMED_TENANT_SECRET": TENANT_SECRET}
PROCESSED, WAITS = "Event processed", "Event kept until its call is known"
ALREADY = "Event already processed (idempotency)"


def rfc3339(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"


def post(daemon: Daemon, mark: dict | bytes, user: str | None = None, headers: dict[str, str] | None = None) -> Response:
    path = MARKS if user is None else f"{MARKS}?user_id={urllib.parse.quote(user)}"
    return daemon.request("POST", path, mark if isinstance(mark, bytes) else json.dumps(mark).encode(), headers)


def taken(daemon: Daemon, mark: dict, user: str | None = None, headers: dict[str, str] | None = None) -> dict:
    reply = post(daemon, mark, user, headers)
    assert (reply.status, reply.json()["status"]) == (200, "processed"), reply.body
    assert reply.json()["event_id"].startswith("MK_")
    return reply.json()


def send(daemon: Daemon, events: list[dict]) -> None:
    for event in events:
        assert daemon.post_event(event).status == 200


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": "Bearer " + token}


def rejected(call: CallMaker) -> list[dict]:
    """Rings and is refused: of a dialer's 486 and 603 webhooks know nothing."""
    left = call.sip("ringing", False, state="DISCONNECTED", disconnectReason="USER_REJECTED")
    return [call.event("room_started", 0), call.event("participant_joined", 1, participant=call.sip("dialing", False)),
            call.event("participant_left", 8, participant=left), call.event("room_finished", 10)]


def verdict(daemon: Daemon, call: CallMaker) -> tuple:
    outcome = daemon.outcome(call.sid, call.tenant).json()
    return outcome["outcome"], outcome["reason"], outcome["confidence"]


def says(daemon: Daemon, call: CallMaker, event_id: str) -> bool:
    return any(e["eventId"] == event_id for e in daemon.outcome(call.sid, call.tenant).json()["evidence"])


# ---- each name of a call, at any time ----

NAMES = {
    "roomSid": lambda call: {"roomSid": call.sid, "at": rfc3339(call.started_s + 8)},
    "roomName": lambda call: {"roomName": call.name, "at": rfc3339(call.started_s + 8)},
    "sipCallId": lambda call: {"sipCallId": call.call_id},
    "roomSid_and_leg": lambda call: {"roomSid": call.sid, "sipCallId": call.call_id},
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", range(5))
def test_a_mark_counts_whenever_it_comes(shared_daemon: Daemon, name, after):
    """Before the first event, between any two, after the last: one verdict."""
    call = CallMaker()
    events = rejected(call)
    send(shared_daemon, events[:after])
    reply = taken(shared_daemon, NAMES[name](call) | {"source": "dialer", "sipCode": 486, "sipText": "Busy Here"})
    known = after > 0 and name != "sipCallId" or after > 1 or name.startswith("roomSid")
    assert reply["message"] == (PROCESSED if known else WAITS)
    send(shared_daemon, events[after:])
    assert verdict(shared_daemon, call) == ("busy", "busy", "certain")
    assert says(shared_daemon, call, reply["event_id"])
    rows = shared_daemon.database.query('SELECT "userId", "roomSid", processed, source, event FROM livekit_call_events WHERE "eventId" = ?', reply["event_id"])
    assert rows == [("user-1", call.sid, 1, "mark", "mark")]


def test_a_call_id_leads_to_its_call(daemon: Daemon):
    call = CallMaker()
    send(daemon, rejected(call))
    row_id = daemon.outcome(call.sid, call.tenant).json()["id"]
    for call_id in (row_id, call.sid):
        reply = taken(daemon, {"callId": call_id, "kind": "note", "value": "by " + call_id}, call.tenant)
        assert reply["message"] == PROCESSED
    assert daemon.database.count("livekit_call_events", 'event = ? AND "roomSid" = ?', "mark", call.sid) == 2


def test_a_host_row_without_a_room_sid_leads_by_its_room_name(daemon: Daemon):
    call = CallMaker()
    daemon.database.query('INSERT INTO call_logs (id, "userId", "livekitRoomName", "createdAt") VALUES (?, ?, ?, ?)', "host-row", call.tenant, call.name,
                          rfc3339(call.started_s - 1))
    reply = taken(daemon, {"callId": "host-row", "source": "dialer", "sipCode": 603, "at": rfc3339(call.started_s + 8)}, call.tenant)
    assert reply["message"] == WAITS
    send(daemon, rejected(call))
    assert says(daemon, call, reply["event_id"])
    daemon.database.query('INSERT INTO call_logs (id, "userId", "createdAt") VALUES (?, ?, ?)', "no-room", call.tenant, rfc3339(time.time()))
    assert post(daemon, {"callId": "no-room", "kind": "ended"}, call.tenant).status == 400


def test_two_calls_of_one_name_a_moment_apart_are_told_apart_by_the_marks_time(daemon: Daemon):
    """A dialer that tries again at once in a room of the same name."""
    first = CallMaker(room_name="redial")
    second = CallMaker(room_name="redial", started_s=first.started_s + 10)
    send(daemon, rejected(first) + rejected(second))
    busy = taken(daemon, {"roomName": "redial", "source": "dialer", "sipCode": 486, "at": rfc3339(first.started_s + 10.0)})
    declined = taken(daemon, {"roomName": "redial", "source": "dialer", "sipCode": 603, "at": rfc3339(second.started_s + 8)})
    assert says(daemon, first, busy["event_id"]) and not says(daemon, first, declined["event_id"])
    assert says(daemon, second, declined["event_id"]) and not says(daemon, second, busy["event_id"])


def test_a_call_that_was_over_gets_a_new_verdict_and_revision(daemon: Daemon):
    call = CallMaker()
    send(daemon, rejected(call))
    before = daemon.outcome(call.sid, call.tenant).json()
    assert (before["revision"], before["confidence"]) == (1, "likely")
    taken(daemon, {"roomSid": call.sid, "source": "dialer", "sipCode": 486, "at": rfc3339(call.started_s + 8)})
    after = daemon.outcome(call.sid, call.tenant).json()
    assert (after["revision"], after["outcome"], after["confidence"]) == (2, "busy", "certain")
    taken(daemon, {"roomSid": call.sid, "kind": "note", "value": "says nothing about the outcome"})
    assert daemon.outcome(call.sid, call.tenant).json()["revision"] == 2


def test_without_time_and_leg_it_is_not_sure_which_attempt_is_meant(daemon: Daemon):
    call = CallMaker()
    send(daemon, rejected(call))
    taken(daemon, {"roomSid": call.sid, "source": "dialer", "sipCode": 486})
    assert verdict(daemon, call) == ("busy", "busy", "likely")
    taken(daemon, {"roomSid": call.sid, "source": "dialer", "sipCode": 486, "sipCallId": call.call_id})
    assert verdict(daemon, call) == ("busy", "busy", "certain")


def test_a_later_mark_of_the_same_source_corrects_an_earlier_one(daemon: Daemon):
    call = CallMaker()
    send(daemon, rejected(call))
    wrong = taken(daemon, {"roomSid": call.sid, "source": "dialer", "sipCode": 486})
    assert verdict(daemon, call)[:2] == ("busy", "busy")
    right = taken(daemon, {"roomSid": call.sid, "source": "dialer", "sipCode": 603})
    assert verdict(daemon, call)[1] == "declined"
    assert says(daemon, call, right["event_id"])
    assert daemon.outcome(call.sid, call.tenant).json()["revision"] == 3
    assert daemon.database.count("livekit_call_events", '"eventId" = ?', wrong["event_id"]) == 1


def test_the_moment_of_the_answer_is_exact_with_a_mark(daemon: Daemon):
    call = CallMaker()
    send(daemon, call.answered())
    assert daemon.outcome(call.sid, call.tenant).json()["answeredAt"] is None
    taken(daemon, {"sipCallId": call.call_id, "source": "agent", "answeredAt": rfc3339(call.started_s + 4.25)})
    outcome = daemon.outcome(call.sid, call.tenant).json()
    assert outcome["answeredAt"] == rfc3339(call.started_s + 4.25)
    assert (outcome["outcome"], outcome["ringSeconds"], outcome["talkSeconds"]) == ("completed", 3, 4)


def test_marks_survive_a_restart_and_kill_9(daemon: Daemon):
    call = CallMaker()
    replies = [taken(daemon, {"sipCallId": call.call_id, "source": "dialer", "sipCode": 486}), taken(daemon, {"roomSid": call.sid, "kind": "note", "value": "x"})]
    daemon.kill()
    daemon.start()
    assert {r["event_id"] for r in replies} <= daemon.database.event_ids()
    send(daemon, rejected(call))
    assert verdict(daemon, call) == ("busy", "busy", "certain")
    assert taken(daemon, {"sipCallId": call.call_id, "source": "dialer", "sipCode": 486})["message"] == ALREADY


# ---- twice ----

@pytest.mark.idempotency
def test_a_mark_sent_twice_is_one(daemon: Daemon):
    mark = {"roomSid": "RM_1", "source": "dialer", "sipCode": 486}
    first = taken(daemon, mark)
    again = daemon.request("POST", MARKS, b' {"sipCode":486 , "roomSid":"RM_1","source":"dialer", "at":null}')
    assert again.json() == {"status": "processed", "event_id": first["event_id"], "message": ALREADY}
    assert taken(daemon, mark | {"sipCode": 603})["event_id"] != first["event_id"]
    assert daemon.database.count("livekit_call_events") == 2


@pytest.mark.idempotency
def test_a_key_makes_one_mark_whatever_else_changes(daemon: Daemon):
    key = {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
    first = taken(daemon, {"roomSid": "RM_1", "kind": "note", "value": "one"}, headers=key)
    assert taken(daemon, {"roomSid": "RM_1", "kind": "note", "value": "one"}, headers=key)["message"] == ALREADY
    quoted = taken(daemon, {"roomSid": "RM_1", "kind": "note", "value": "one"}, headers={"Idempotency-Key": f'"{key["Idempotency-Key"]}"'})
    assert (quoted["message"], quoted["event_id"]) == (ALREADY, first["event_id"])
    other = post(daemon, {"roomSid": "RM_1", "kind": "note", "value": "two"}, headers=key)
    assert (other.status, other.headers["content-type"].split(";")[0]) == (422, "application/problem+json")
    assert "idempotency key" in other.json()["detail"]
    assert taken(daemon, {"roomSid": "RM_1", "kind": "note", "value": "two"}, "acme", key)["event_id"] != first["event_id"]
    assert taken(daemon, {"roomSid": "RM_1", "kind": "note", "value": "one"}, headers={"Idempotency-Key": "another"})["message"] == PROCESSED
    assert daemon.database.count("livekit_call_events") == 3
    assert daemon.metrics()['outcomed_event_results_total{result="conflict"}'] == 1


@pytest.mark.idempotency
def test_the_same_mark_at_once_counts_once(daemon: Daemon):
    call = CallMaker()
    send(daemon, rejected(call))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: taken(daemon, {"callId": call.sid, "source": "dialer", "sipCode": 486}, call.tenant), range(40)))
    assert sum(r["message"] == ALREADY for r in replies) == 39
    assert len({r["event_id"] for r in replies}) == 1
    assert daemon.outcome(call.sid, call.tenant).json()["revision"] == 2


# ---- what is refused ----

REFUSED = [
    ({"sipCode": 486}, "the mark names no call"),
    ({"roomSid": "RM_1"}, "kind is missing"),
    ({"roomSid": "RM_1", "roomName": "n", "sipCode": 486}, "only one of them"),
    ({"roomSid": "RM_1", "sipCode": "486"}, "sipCode must be a whole number"),
    ({"roomSid": "RM_1", "sipcode": 486}, "sipcode is no member of a mark"),
    ({"roomSid": "RM_1", "kind": "hangup"}, "kind must be one of"),
    ({"roomSid": "RM_1", "kind": "ended", "source": "watcher"}, "source must be one of"),
    ({"roomSid": "RM_1", "kind": "ended", "at": "yesterday"}, "at must be a time"),
    ({"roomSid": "RM_1", "kind": "note", "value": "x" * 2049}, "value must be a text of at most 2048 bytes"),
    ({"roomSid": "RM_1", "kind": "note"}, "value is missing"),
    ({"roomSid": "RM_1", "kind": "ended", "userId": "acme"}, "userId is no member of a mark"),
    ([], "must be a JSON object"),
    ({"roomSid": 7, "kind": "ended"}, "roomSid must be a text"),
]


def test_what_is_wrong_is_named(daemon: Daemon):
    for mark, detail in REFUSED:
        reply = post(daemon, mark)
        assert reply.status == 400, mark
        assert reply.headers["content-type"].startswith("application/problem+json")
        assert detail in reply.json()["detail"], reply.json()
        assert reply.json()["error"] == reply.json()["detail"]
    for body in (b"", b"{", b"roomSid=RM_1", b'{"roomSid":"\xff"}', b'{"a":1,"a":1}', b"\x00" * 50, b"[" * 2000):
        assert post(daemon, body).status == 400
    assert daemon.database.count("livekit_call_events") == 0


def test_a_moment_in_the_future_is_refused(daemon: Daemon):
    assert "future" in post(daemon, {"roomSid": "RM_1", "kind": "ended", "at": rfc3339(time.time() + 700)}).json()["detail"]
    assert post(daemon, {"roomSid": "RM_1", "kind": "ended", "at": rfc3339(time.time() + 500)}).status == 200


def test_requests_that_are_no_mark(shared_daemon: Daemon):
    mark = {"roomSid": "RM_1", "kind": "ended"}
    for key in ("", '""', "x" * 256):
        assert post(shared_daemon, mark, headers={"Idempotency-Key": key}).status == 400
    two = shared_daemon.raw(b"POST /api/marks HTTP/1.1\r\nHost: x\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\n\r\n{}")
    assert two.startswith(b"HTTP/1.1 400 ")
    assert post(shared_daemon, gzip.compress(json.dumps(mark).encode()), headers={"Content-Encoding": "gzip"}).status == 415
    assert shared_daemon.request("POST", MARKS + "?user=acme", json.dumps(mark).encode()).status == 400
    assert post(shared_daemon, mark, "a\nb").status == 400
    reply = shared_daemon.request("GET", MARKS)
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
    reply = shared_daemon.request("OPTIONS", MARKS)
    assert (reply.status, reply.headers["allow"]) == (200, "POST, OPTIONS")
    assert shared_daemon.request("HEAD", MARKS).status == 405
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        assert post(shared_daemon, mark, headers={"Content-Type": kind}).status == 200


def test_a_mark_is_small(daemon: Daemon):
    """A body of 64 KiB is taken, one byte more is not, whatever --max-body says."""
    mark = json.dumps({"roomSid": "RM_1", "kind": "ended"}).encode()
    assert post(daemon, mark.ljust(65536)).status == 200
    assert post(daemon, mark.ljust(65537)).status == 413
    assert post(daemon, mark.ljust(65537), headers={"Transfer-Encoding": "chunked"}).status in (400, 413)
    assert post(daemon, mark).json()["message"] == ALREADY
    assert "webhook_too_large" not in daemon.log()


# ---- who may post ----

def test_with_tokens_only_their_holders_post(start_daemon, database):
    daemon = start_daemon(database=database, env=TOKENS)
    mark = {"roomSid": "RM_1", "kind": "ended"}
    for name, headers in (("none", {}), ("webhook", {"Authorization": signing.sign(b"")["Authorization"]}), ("wrong", bearer(SERVICE + "x")),
                          ("expired", bearer(signing.tenant_token("acme", TENANT_SECRET, -3600)))):
        reply = post(daemon, mark, headers=headers)
        assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer"), name
    assert daemon.database.count("livekit_call_events") == 0
    assert taken(daemon, mark, headers=bearer(SERVICE))["message"] == PROCESSED
    assert taken(daemon, mark, "acme", bearer(SERVICE))["message"] == WAITS
    tenant = bearer(signing.tenant_token("acme", TENANT_SECRET))
    assert taken(daemon, mark, headers=tenant)["message"] == ALREADY
    assert taken(daemon, mark, "acme", tenant)["message"] == ALREADY
    assert post(daemon, mark, "globex", tenant).status == 403
    assert daemon.database.query('SELECT "userId" FROM livekit_call_events ORDER BY 1') in ([("acme",), (None,)], [(None,), ("acme",)])


def test_a_web_page_cannot_make_a_browser_post_here(start_daemon, database):
    daemon = start_daemon(database=database)
    mark = {"roomSid": "RM_1", "kind": "ended"}
    origin = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    assert post(daemon, mark, headers=origin).status == 403
    assert daemon.database.count("livekit_call_events") == 0
    daemon.stop()
    guarded = start_daemon(database=database, env=TOKENS)
    assert post(guarded, mark, headers=origin | bearer(SERVICE)).status == 200


# ---- the tenants' boundary ----

@pytest.mark.multitenant
def test_an_others_call_id_is_a_missing_call_byte_for_byte(start_daemon, database):
    daemon = start_daemon(database=database, env=TOKENS)
    call = CallMaker(tenant="acme")
    send(daemon, rejected(call))
    own = daemon.outcome(call.sid, "acme", bearer(SERVICE)).json()["id"]
    missing = daemon.outcome("RM_nosuchcall", "globex", bearer(SERVICE))
    assert missing.status == 404
    for user, headers in (("globex", bearer(SERVICE)), (None, bearer(signing.tenant_token("globex", TENANT_SECRET)))):
        for call_id in (own, call.sid, "RM_nosuchcall"):
            reply = post(daemon, {"callId": call_id, "kind": "note", "value": "x"}, user, headers)
            assert (reply.status, reply.body) == (404, missing.body)
            assert reply.headers | {"date": ""} == missing.headers | {"date": ""}
    assert post(daemon, {"callId": own, "kind": "ended"}, None, bearer(SERVICE)).status == 400
    assert daemon.database.count("livekit_call_events", "event = ?", "mark") == 0


@pytest.mark.multitenant
def test_an_others_call_is_answered_like_no_call(daemon: Daemon):
    call = CallMaker(tenant="acme")
    send(daemon, rejected(call))
    for theirs, none in (({"roomSid": call.sid}, {"roomSid": new_id("RM")}), ({"sipCallId": call.call_id}, {"sipCallId": new_id("SCL")}),
                         ({"roomName": call.name, "at": rfc3339(call.started_s + 5)}, {"roomName": new_id("room")})):
        replies = [taken(daemon, name | {"kind": "ended"}, "globex") for name in (theirs, none)]
        assert {r["message"] for r in replies} == {WAITS}
    assert daemon.metrics()['outcomed_event_results_total{result="quarantined"}'] == 0


def everything_shown(daemon: Daemon, call: CallMaker, user: str) -> bytes:
    path = f"/api/calls/{call.sid}"
    pages = [daemon.outcome(call.sid, user), daemon.get(f"/api/calls?user_id={user}"), daemon.get(f"{path}?user_id={user}"),
             daemon.get(f"{path}/events?user_id={user}")]
    return b"\n".join(p.body for p in pages)


@pytest.mark.multitenant
@pytest.mark.parametrize("order", list(itertools.permutations(("mark", "start", "events"))), ids="-".join)
def test_nothing_of_a_tenants_mark_shows_at_anothers(shared_daemon: Daemon, order):
    """`start` names the tenant, the events before it do not: the mark comes before, while nobody knows whose the call is, or after."""
    daemon = shared_daemon
    call, nobody = CallMaker(tenant="acme"), CallMaker(tenant=None)
    nobody.sid, nobody.name, nobody.call_id, nobody.leg, nobody.started_s = call.sid, call.name, call.call_id, call.leg, call.started_s
    at = rfc3339(call.started_s + 8)
    secret = {"source": "dialer", "sipCode": 486, "sipText": "canary-text", "value": "canary-value", "at": at}
    names = [{"roomSid": call.sid}, {"sipCallId": call.call_id}, {"roomName": call.name}, {"roomSid": call.sid, "sipCallId": call.call_id}]
    marks: list[str] = []
    for step in order:
        if step == "mark":
            marks = [taken(daemon, name | secret, "globex")["event_id"] for name in names]
        elif step == "start":
            send(daemon, [call.event("room_started", 0)])
        else:
            send(daemon, rejected(nobody)[1:])
    send(daemon, [call.event("room_finished", 10)])
    reply = daemon.outcome(call.sid, "acme")
    assert (reply.json()["outcome"], reply.json()["confidence"]) == ("busy", "likely")
    shown = everything_shown(daemon, call, "acme")
    assert b"canary" not in shown
    assert not any(mark.encode() in shown for mark in marks)
    assert daemon.outcome(call.sid, "globex").status == 404
    assert call.sid.encode() not in everything_shown(daemon, call, "globex")
    rows = daemon.database.query('SELECT DISTINCT "userId", "callLogId" FROM livekit_call_events WHERE "eventId" IN (?, ?, ?, ?)', *marks)
    assert rows == [("globex", None)]


@pytest.mark.multitenant
@pytest.mark.parametrize("order", list(itertools.permutations(("mark", "start", "events"))), ids="-".join)
def test_a_tenants_own_mark_counts_in_any_order(shared_daemon: Daemon, order):
    daemon = shared_daemon
    call, nobody = CallMaker(tenant="acme"), CallMaker(tenant=None)
    nobody.sid, nobody.name, nobody.call_id, nobody.leg, nobody.started_s = call.sid, call.name, call.call_id, call.leg, call.started_s
    for step in order:
        if step == "mark":
            mark = taken(daemon, {"sipCallId": call.call_id, "source": "dialer", "sipCode": 486, "sipText": "own-text"}, "acme")
        elif step == "start":
            send(daemon, [call.event("room_started", 0)])
        else:
            send(daemon, rejected(nobody)[1:])
    send(daemon, [call.event("room_finished", 10)])
    assert verdict(daemon, call) == ("busy", "busy", "certain")
    assert says(daemon, call, mark["event_id"])
    assert b"own-text" in everything_shown(daemon, call, "acme")


@pytest.mark.multitenant
def test_one_who_may_speak_for_all_speaks_about_every_call(start_daemon, database):
    daemon = start_daemon(database=database, env=TOKENS)
    call = CallMaker(tenant="acme")
    send(daemon, rejected(call))
    assert taken(daemon, {"roomSid": call.sid, "sipCallId": call.call_id, "source": "carrier", "sipCode": 486}, headers=bearer(SERVICE))["message"] == PROCESSED
    outcome = daemon.outcome(call.sid, "acme", bearer(SERVICE)).json()
    assert (outcome["outcome"], outcome["confidence"]) == ("busy", "certain")


# ---- what an operator sees ----

def test_marks_are_counted_by_kind_source_and_result_and_not_shown(daemon: Daemon):
    taken(daemon, {"roomSid": "RM_1", "source": "dialer", "sipCode": 486, "sipText": "+12025550123 canary"})
    taken(daemon, {"roomSid": "RM_1", "source": "agent", "kind": "machine"}, "tenant-of-the-mark")
    post(daemon, {"roomSid": "RM_1"})
    values = daemon.metrics()
    assert values['outcomed_marks_total{kind="sip_result"}'] == values['outcomed_marks_total{kind="machine"}'] == 1
    assert values['outcomed_mark_sources_total{source="dialer"}'] == values['outcomed_mark_sources_total{source="agent"}'] == 1
    assert values['outcomed_events_total{event="mark"}'] == values['outcomed_event_results_total{result="processed"}'] == 2
    assert values['outcomed_http_requests_total{code="400"}'] == 1
    assert values["outcomed_ack_seconds_count"] == 0
    log = daemon.log() + daemon.get("/metrics").body.decode()
    for text in ("canary", "+1202", "tenant-of-the-mark"):
        assert text not in log


def test_a_database_that_is_down_costs_no_mark(start_daemon, tmp_path, new_database):
    """Without a spool 503 and Retry-After, then taken once it is back."""
    database = new_database("sqlite")
    daemon = start_daemon(database=database, env={"OUTCOMED_SPOOL": "none"})
    path = tmp_path / database.url.removeprefix("sqlite:").rsplit("/", 1)[-1]
    away = path.with_suffix(".away")
    path.rename(away)
    reply = post(daemon, {"roomSid": "RM_1", "kind": "ended"})
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")
    away.rename(path)
    deadline = time.monotonic() + 20
    while post(daemon, {"roomSid": "RM_1", "kind": "ended"}).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert daemon.database.count("livekit_call_events") == 1
