"""A call whole: its legs with a verdict each, witnesses, losses, and what becomes of a verdict that changes after it was final. Both stores."""

import json
import time
import urllib.parse

import pytest

from support.daemon import Daemon
from support.events import CallMaker, new_id

pytestmark = pytest.mark.integration


def whole(daemon: Daemon, call: CallMaker, what: str = "", **parameters) -> dict:
    reply = daemon.get(f"/api/calls/{call.sid}{what}?" + urllib.parse.urlencode({"user_id": call.tenant} | parameters))
    assert reply.status == 200, reply.body
    return reply.json() | ({"etag": reply.headers["etag"]} if not what else {})


def test_a_call_whole_is_its_outcome_and_more(shared_daemon: Daemon):
    call = CallMaker()
    for event in call.answered():
        assert shared_daemon.post_event(event).status == 200
    seen, outcome = whole(shared_daemon, call), shared_daemon.outcome(call.sid, call.tenant).json()
    assert {key: seen[key] for key in outcome} == outcome
    assert set(seen) - set(outcome) == {"legs", "witnesses", "losses", "revisions", "etag"}
    assert [(leg["kind"], leg["primary"]) for leg in seen["legs"]] == [("AGENT", False), ("SIP", True)]
    assert seen["legs"][1]["verdict"]["explanation"] == outcome["explanation"]
    assert (seen["witnesses"], seen["losses"], seen["revisions"]) == ([], [], [])
    by_id = shared_daemon.get(f"/api/calls/{outcome['id']}?user_id={call.tenant}")
    assert by_id.headers["etag"] == seen["etag"]


def redial(call: CallMaker) -> list[dict]:
    """Busy, dialed again, answered."""
    again = CallMaker(call.tenant, number=call.number)
    first = [call.event("room_started", 0), call.event("participant_joined", 0, participant=call.agent_member()),
             call.event("participant_joined", 1, participant=call.sip("dialing", False)),
             call.event("participant_left", 4, participant=call.sip("ringing", False, state="DISCONNECTED", disconnectReason="USER_REJECTED"))]
    times = {"joinedAt": str(call.started_s + 6), "joinedAtMs": str(call.started_s * 1000 + 6040)}
    left = {"state": "DISCONNECTED", "disconnectReason": "CLIENT_INITIATED"}
    gone = call.agent_member(state="DISCONNECTED", disconnectReason="ROOM_CLOSED")
    return first + [call.event("participant_joined", 6, participant=again.sip("dialing", False) | times),
                    call.event("participant_left", 15, participant=again.sip("hangup", True) | times | left),
                    call.event("participant_left", 17, participant=gone), call.event("room_finished", 17)]


def test_each_phone_leg_has_its_own_verdict(shared_daemon: Daemon):
    call = CallMaker()
    for event in redial(call):
        assert shared_daemon.post_event(event).status == 200
    seen = whole(shared_daemon, call)
    assert (seen["outcome"], seen["reason"]) == ("completed", "hangup")
    busy, answered = (leg for leg in seen["legs"] if leg["kind"] == "SIP")
    assert (busy["verdict"]["outcome"], busy["primary"], busy["callStatus"], busy["answered"]) == ("busy", False, "ringing", "no")
    assert (answered["verdict"]["outcome"], answered["primary"], answered["answered"]) == ("completed", True, "yes")
    assert busy["sipCallId"] == call.call_id != answered["sipCallId"] == seen["sipCallId"]


def test_an_open_call_has_legs_without_verdicts(shared_daemon: Daemon):
    call = CallMaker()
    for event in redial(call)[:5]:
        assert shared_daemon.post_event(event).status == 200
    seen = whole(shared_daemon, call)
    assert (seen["status"], seen["outcome"], seen["revision"]) == ("active", None, 0)
    assert [leg["verdict"] and leg["verdict"]["outcome"] for leg in seen["legs"]] == [None, "busy", None]


def test_what_never_came_is_shown_and_counted(shared_daemon: Daemon):
    call = CallMaker()
    name = 'outcomed_losses_total{loss="participant_joined"}'
    before = shared_daemon.metrics().get(name, 0)
    for event in call.unanswered():
        if event["event"] != "participant_joined":
            assert shared_daemon.post_event(event).status == 200
    seen = whole(shared_daemon, call)
    assert [(loss["loss"], loss["participantSid"]) for loss in seen["losses"]] == [("participant_joined", call.leg)]
    assert shared_daemon.metrics()[name] == before + 1


def test_the_lag_of_arrival_is_a_histogram(shared_daemon: Daemon):
    def buckets() -> dict[str, float]:
        return {name: value for name, value in shared_daemon.metrics().items() if name.startswith("outcomed_arrival_lag_seconds")}

    before = buckets()
    now = int(time.time())
    for age_s in (0, 120, -60):  # fresh, late, and of a clock that runs ahead
        call = CallMaker(started_s=now - age_s)
        assert shared_daemon.post_event(call.event("room_started", 0)).status == 200
    after = buckets()
    grown = {name: value - before[name] for name, value in after.items()}
    assert grown["outcomed_arrival_lag_seconds_count"] == 3
    assert 119 <= grown["outcomed_arrival_lag_seconds_sum"] <= 140
    assert grown['outcomed_arrival_lag_seconds_bucket{le="10"}'] == 2
    assert grown['outcomed_arrival_lag_seconds_bucket{le="+Inf"}'] == 3


# ---- a verdict that changes after it was final ----

def late_leave(call: CallMaker) -> dict:
    return call.event("participant_left", 9, participant=call.sip("ringing", False, state="DISCONNECTED", disconnectReason="USER_REJECTED"))


def without_leave(call: CallMaker) -> list[dict]:
    return [call.event("room_started", 0), call.event("participant_joined", 1, participant=call.sip("dialing", False)),
            call.event("room_finished", 12)]


def test_a_late_event_makes_a_new_revision_and_the_old_one_is_kept(shared_daemon: Daemon):
    call = CallMaker()
    for event in without_leave(call):
        assert shared_daemon.post_event(event).status == 200
    first = whole(shared_daemon, call)
    assert (first["outcome"], first["revision"], first["revisions"]) == ("unknown", 1, [])
    leave = late_leave(call)
    before = int(time.time() * 1000)
    assert shared_daemon.post_event(leave).status == 200
    second = whole(shared_daemon, call)
    assert (second["outcome"], second["revision"]) == ("busy", 2)
    assert second["etag"] != first["etag"]
    assert second["losses"] == []
    [old] = second["revisions"]
    verdict = {key: value for key, value in old.items() if key not in ("revision", "replacedAt")}
    assert verdict == {key: first[key] for key in verdict}
    assert {"outcome", "reason", "confidence", "explanation", "evidence"} <= set(verdict)
    assert old["revision"] == 1
    assert old["replacedAt"] >= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before / 1000 - 1))
    assert shared_daemon.outcome(call.sid, call.tenant).json()["revision"] == 2
    again = shared_daemon.request("GET", f"/api/calls/{call.sid}?user_id={call.tenant}", headers={"If-None-Match": first["etag"]})
    assert again.status == 200

    assert shared_daemon.post_event(leave).json()["message"].startswith("Event already processed")
    assert whole(shared_daemon, call) == second


def test_an_event_that_changes_nothing_keeps_revision_and_tag_of_the_verdict(shared_daemon: Daemon):
    call = CallMaker()
    for event in call.unanswered():
        assert shared_daemon.post_event(event).status == 200
    first = whole(shared_daemon, call)
    assert shared_daemon.post_event(call.event("participant_joined", 0, participant=call.agent_member(kind="EGRESS"))).status == 200
    second = whole(shared_daemon, call)
    assert (second["revision"], second["revisions"]) == (1, [])
    assert second["legs"] == first["legs"]


def test_every_replaced_verdict_is_kept_in_its_order(shared_daemon: Daemon):
    """A leave that is lost, comes late, and then proves to be no end, since the leg comes back and is answered."""
    call = CallMaker()
    back = call.sip("dialing", False, sid=new_id("PA"), joinedAtMs=str(call.started_s * 1000 + 10040), joinedAt=str(call.started_s + 10))
    answered = call.sip("hangup", True) | {key: back[key] for key in ("sid", "joinedAt", "joinedAtMs")} | {
        "state": "DISCONNECTED", "disconnectReason": "CLIENT_INITIATED"}
    for event in (*without_leave(call), late_leave(call), call.event("participant_left", 12, participant=answered)):
        assert shared_daemon.post_event(event).status == 200
    seen = whole(shared_daemon, call)
    assert [old["revision"] for old in seen["revisions"]] == list(range(1, seen["revision"]))
    assert [old["outcome"] for old in seen["revisions"]][:2] == ["unknown", "busy"]
    assert seen["outcome"] == "completed"


# ---- the journal ----

def test_events_are_the_journals_rows(shared_daemon: Daemon):
    call = CallMaker()
    events = call.answered()
    for event in events:
        assert shared_daemon.post_event(event).status == 200
    page = whole(shared_daemon, call, "/events", limit=200)
    assert page["nextCursor"] is None
    assert [row["eventId"] for row in page["events"]] == [event["id"] for event in events]
    for row, event in zip(page["events"], events, strict=True):
        assert (row["event"], row["timestamp"], row["roomSid"], row["userId"]) == (event["event"], int(event["createdAt"]), call.sid, call.tenant)
        assert (row["processed"], row["source"], row["errorMessage"]) == (1, "livekit", None)
        secret = event["room"].pop("turnPassword", None)
        assert row["rawPayload"] == event
        assert secret is None or secret not in json.dumps(row)
    columns = {name for (name,) in shared_daemon.database.query(
        "SELECT name FROM pragma_table_info('livekit_call_events')" if shared_daemon.database.kind == "sqlite" else
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'livekit_call_events'")}
    assert set(page["events"][0]) == columns


def test_a_call_of_no_tenant_is_shown_to_nobody(shared_daemon: Daemon):
    call = CallMaker(tenant=None)
    for event in call.answered():
        assert shared_daemon.post_event(event).status == 200
    for user in ("user-1", "None", "null", "NULL"):
        for what in ("", "/events", "/outcome"):
            assert shared_daemon.get(f"/api/calls/{call.sid}{what}?user_id={user}").status == 404
