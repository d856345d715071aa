"""No call stays open for ever: whatever stopped coming, the sweeper ends the call when its limit is over, and says so."""

import itertools
import json
import time

import pytest

from support import captures as capture_files
from support.events import CallMaker

pytestmark = pytest.mark.integration

DAY_S = 24 * 3600
LONG_AGO_S = 3 * DAY_S  # longer than every limit
HOUSE = "house"

OPEN_CALLS = {
    "the room alone": lambda c: [c.event("room_started", 0)],
    "a phone that rings": lambda c: [c.event("room_started", 0), c.event("participant_joined", 1, participant=c.sip("dialing", False))],
    "a phone that was answered": lambda c: [c.event("participant_joined", 1, participant=c.sip("active", True))],
    "a call in": lambda c: [c.event("participant_joined", 1, participant=inbound(c))],
    "an agent alone": lambda c: [c.event("room_started", 0), c.event("participant_joined", 0, participant=c.agent_member())],
    "a track of somebody": lambda c: [c.track("track_published", 3, c.sip("dialing", False))],
    "a phone and an agent": lambda c: c.answered()[:5],
    "all but the room's end and the phone's": lambda c: [e for e in c.answered() if e["event"] != "room_finished" and e.get("participant", {}).get("sid") != c.leg],
    "a leave alone": lambda c: [e for e in c.answered() if e["event"] == "participant_left"][:1],
    "a web user": lambda c: [c.event("participant_joined", 1, participant={"sid": c.leg, "identity": "anna", "joinedAt": str(c.started_s)})],
    "a type newer than we": lambda c: [c.event("room_moved", 1)],
}


def inbound(call: CallMaker) -> dict:
    sip = call.sip("ringing", True)
    sip["attributes"]["sip.ruleID"] = "SDR_1"
    return sip


def wait_all_ended(daemon, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while daemon.database.count("call_facts", "outcome IS NULL"):
        assert time.monotonic() < deadline, daemon.database.query('SELECT "roomName", "dueAtMs" FROM call_facts WHERE outcome IS NULL')
        time.sleep(0.2)


def test_every_open_call_ends_after_its_limit_and_none_is_certain(start_daemon, database):
    daemon = start_daemon("--default-user", HOUSE, database=database)
    calls = {what: CallMaker(started_s=int(time.time()) - LONG_AGO_S) for what in OPEN_CALLS}
    for what, call in calls.items():
        for event in OPEN_CALLS[what](call):
            assert daemon.post_event(event).status == 200
    wait_all_ended(daemon)
    tenants = dict(database.query('SELECT "roomSid", "userId" FROM call_facts'))  # not every event names the tenant
    for what, call in calls.items():
        assert call.sid in tenants, what
        shown = daemon.wait_outcome(call.sid, tenants[call.sid])
        assert shown["status"] == "ended" and shown["reason"], what
        assert shown["confidence"] != "certain", (what, shown)
        assert shown["explanation"], what
    assert daemon.database.count("call_facts", '"dueAtMs" IS NOT NULL') == 0, "what has ended is not looked at again"


def test_a_call_within_its_limit_stays_open(start_daemon, database):
    daemon = start_daemon(database=database)
    answered, ringing = (CallMaker(started_s=int(time.time()) - age) for age in (5 * 3600, 3600))
    daemon.post_event(answered.event("participant_joined", 1, participant=answered.sip("active", True)))
    daemon.post_event(ringing.event("participant_joined", 1, participant=ringing.sip("dialing", False)))
    time.sleep(3)
    for call in (answered, ringing):
        shown = daemon.outcome(call.sid, "user-1").json()
        assert shown["status"] == "active" and shown["outcome"] is None
    assert daemon.database.count("call_facts", '"dueAtMs" IS NULL') == 0, "a call that is open has a limit"


def test_an_end_that_comes_after_the_limit_is_still_heard(start_daemon, database):
    daemon = start_daemon(database=database)
    call = CallMaker(started_s=int(time.time()) - LONG_AGO_S)
    events = call.answered()
    for event in events[:5]:
        daemon.post_event(event)
    first = daemon.wait_outcome(call.sid, "user-1", 30)
    assert first["confidence"] != "certain"
    for event in events[5:]:
        daemon.post_event(event)
    last = daemon.wait_outcome(call.sid, "user-1")
    assert (last["outcome"], last["confidence"]) == ("completed", "certain")
    assert last["revision"] > first["revision"]


def older(event: dict, by_s: int) -> dict:
    """The event as if it had been sent so much earlier."""
    seconds, milliseconds = ("createdAt", "creationTime", "joinedAt"), ("creationTimeMs", "joinedAtMs")
    out = {}
    for name, value in event.items():
        if name in seconds and value not in ("0", 0):
            value = str(int(value) - by_s)
        elif name in milliseconds and value not in ("0", 0):
            value = str(int(value) - by_s * 1000)
        elif name == "unixMicro":
            value = str(int(value) - by_s * 1_000_000)
        elif name in ("startedAt", "endedAt", "updatedAt") and len(str(value)) == 19:
            value = str(int(value) - by_s * 1_000_000_000)
        elif isinstance(value, dict):
            value = older(value, by_s)
        out[name] = value
    return out


def test_recorded_calls_that_fall_silent_end_and_are_never_certain_and_wrong(start_daemon, database):
    """Of each recorded call only the first half of its events comes."""
    daemon = start_daemon("--default-user", HOUSE, database=database)
    connection, heard = daemon.connect(), []
    for number, call in zip(itertools.count(), capture_files.recorded_calls()):
        kept = call.deliveries[:max(1, len(call.deliveries) // 2)]
        heard.append(call)
        for d in kept:
            body = json.dumps(older(d.event, LONG_AGO_S + number)).encode()
            assert daemon.post(body, connection=connection).status == 200
    connection.close()
    wait_all_ended(daemon, 60)
    verdicts = dict(daemon.database.query('SELECT "roomSid", verdict FROM call_facts'))
    assert len(verdicts) == len(heard)
    for call in heard:
        verdict = verdicts[call.room_sid]
        verdict = verdict if isinstance(verdict, dict) else json.loads(verdict)
        assert verdict["outcome"], call.capture
        assert verdict["outcome"] in call.accept or verdict["confidence"] != "certain", call.capture
