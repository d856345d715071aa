"""Every recorded call through the whole path on both stores: signed again, posted, and its outcome read back by its tenant. What the verdicts
ought to be is tests/unit/test_recorded_verdicts.py's matter; here they must come out of the daemon as out of the pure core."""

import json
import random
import re
import time

import pytest

from support import captures as capture_files
from support.captures import Call, recorded_calls
from support.daemon import Daemon

pytestmark = pytest.mark.integration

HOUSE = "tenant-of-the-rest"


def tenant_of(call: Call) -> str:
    """The tenant that the call's own events name: room metadata first, then attributes of SIP and AGENT participants."""
    named: dict[int, set[str]] = {1: set(), 2: set()}
    for d in call.deliveries:
        event = d.event
        metadata = event.get("room", {}).get("metadata")
        if metadata:
            named[1].add(json.loads(metadata)["user_id"])
        participant = event.get("participant", {})
        if participant.get("kind") in ("SIP", "AGENT") and "user_id" in participant.get("attributes", {}):
            named[2].add(participant["attributes"]["user_id"])
    for tenants in named.values():
        if tenants:
            assert len(tenants) == 1, f"{call.capture}: {tenants}"
            return tenants.pop()
    return HOUSE


def replay(daemon: Daemon, deliveries: list[capture_files.Delivery]) -> None:
    connection = daemon.connect()
    for d in deliveries:
        reply = daemon.post(d.body, connection=connection)
        assert reply.status == 200
        assert reply.json()["status"] in ("processed", "ignored"), reply.body
    connection.close()


def verdicts(daemon: Daemon) -> dict[str, dict]:
    """Each call's outcome as its tenant reads it, by room SID; waits until the sweeper has closed all that are due."""
    deadline = time.monotonic() + 30
    soon_s = 20  # a call whose end is overdue is looked at once its events have stopped coming for some seconds
    due = ("outcome IS NULL AND \"dueAtMs\" < ?", int((time.time() + soon_s) * 1000))
    while daemon.database.count("call_facts", *due) > 0:
        assert time.monotonic() < deadline, daemon.database.query(f'SELECT "roomName" FROM call_facts WHERE {due[0]}', due[1])
        time.sleep(0.1)
    found = {}
    for call in recorded_calls():
        reply = daemon.outcome(call.room_sid, tenant_of(call))
        if reply.status == 404 and not finished(call):
            continue  # still open, and of nobody until it ends
        assert reply.status == 200, (call.capture, reply.body)
        found[call.room_sid] = reply.json()
    return found


def finished(call: Call) -> bool:
    return any(d.event["event"] == "room_finished" for d in call.deliveries)


@pytest.fixture(scope="module")
def recorded(shared_daemon: Daemon) -> dict[str, dict]:
    """The verdicts after everything was delivered in its recorded order."""
    replay(shared_daemon, [d for capture in capture_files.all_captures() for d in capture.deliveries])
    return verdicts(shared_daemon)


@pytest.fixture(scope="module")
def shared_daemon(make_shared_daemon) -> Daemon:
    return make_shared_daemon("--default-user", HOUSE)


def test_outcomes_are_those_of_the_pure_core(recorded, build_folder):
    pure = capture_files.classified(build_folder)
    for call in recorded_calls():
        seen = recorded.get(call.room_sid, {"outcome": None})
        if seen["outcome"] is None:
            assert not finished(call), call.capture
            continue
        for name in ("outcome", "confidence", "reason", "rule", "alternatives", "direction", "startedAt", "endedAt", "evidence"):
            assert seen[name] == pure[call.room_sid].get(name, seen[name]), (call.capture, name)


def test_outcomes_are_those_of_the_expected_table(recorded):
    """The same table that tests/unit/test_recorded_verdicts.py holds the pure core to, here through HTTP, journal and store."""
    columns, *rows = [line.split("\t") for line in (capture_files.FOLDER / "expected.tsv").read_text().splitlines()]
    expected = {(row["capture"], row["room"]): row for row in (dict(zip(columns, r, strict=True)) for r in rows)}
    wrong, judged = [], 0
    for call in recorded_calls():
        seen = recorded.get(call.room_sid, {"outcome": None})
        row = expected[call.capture, call.room_name]
        if seen["outcome"] is not None and call.capture != "web-same-name-twice":
            judged += 1
            wrong += [(call.capture, name, seen[name], row[name]) for name in ("outcome", "confidence", "reason", "rule") if seen[name] != row[name]]
    assert wrong == []
    assert judged >= 90


def test_directions_and_times_are_the_true_ones(recorded):
    wrong = []
    for call in (c for c in recorded_calls() if c.room_sid in recorded):
        seen, truth = recorded[call.room_sid], call.truth
        if seen["direction"] not in (truth["direction"], None):
            wrong.append(f"{call.capture}: direction {seen['direction']}, in truth {truth['direction']}")
        if seen["confidence"] == "certain" and seen["answeredAt"] is not None and not truth["answered"]:
            wrong.append(f"{call.capture}: answeredAt {seen['answeredAt']} of a call that nobody answered")
    assert wrong == []


def test_numbers_and_legs_are_the_recorded_ones(recorded):
    for call in (c for c in recorded_calls() if c.room_sid in recorded):
        seen = recorded[call.room_sid]
        attributes = [e["participant"].get("attributes", {}) for e in (d.event for d in call.deliveries)
                      if e.get("participant", {}).get("kind") == "SIP"]
        assert seen["phoneNumber"] in {a.get("sip.phoneNumber") for a in attributes} or (not attributes and seen["phoneNumber"] is None)
        assert seen["sipCallId"] in {a.get("sip.callID") for a in attributes} or (not attributes and seen["sipCallId"] is None)


def test_recordings_are_attached_and_change_no_outcome(recorded):
    located = {}
    for call in recorded_calls():
        for event in (d.event for d in call.deliveries):
            for result in event.get("egressInfo", {}).get("fileResults", []):
                if event["event"] == "egress_ended" and result.get("location"):
                    located[call.room_sid] = result["location"]
    assert located
    for sid, location in located.items():
        assert recorded[sid]["recordingUrl"] == location
        assert recorded[sid]["outcome"] == "completed"


def test_evidence_names_events_of_the_call(recorded):
    for call in (c for c in recorded_calls() if recorded.get(c.room_sid, {}).get("outcome")):
        ids = {d.event["id"] for d in call.deliveries}
        for evidence in recorded[call.room_sid]["evidence"]:
            assert evidence["eventId"] is None or evidence["eventId"] in ids
            assert evidence["says"]


def test_every_event_is_in_the_journal_and_none_is_aside(recorded, shared_daemon):
    sent = {d.event["id"] for capture in capture_files.all_captures() for d in capture.deliveries}
    assert shared_daemon.database.event_ids() == sent
    assert shared_daemon.database.query('SELECT "eventId", "errorMessage" FROM livekit_call_events WHERE processed = 0') == []
    owned = sum(call.room_sid in recorded for call in recorded_calls())
    assert shared_daemon.database.count("call_logs") == owned
    assert shared_daemon.database.count("call_facts") == len(recorded_calls())


def test_no_number_is_in_the_log(recorded, shared_daemon):
    log = shared_daemon.log()
    assert log.count("call_completed") >= 1000
    assert re.findall(r"\+1\d{6,}", log) == []


def without_history(verdict: dict) -> dict:
    """What must not depend on the order of arrival: all but ids of rows, our own clock and the count of revisions."""
    return {k: v for k, v in verdict.items() if k not in ("id", "createdAt", "updatedAt", "revision")}


@pytest.mark.parametrize("seed", [1])
def test_shuffled_deliveries_give_the_same_verdicts(recorded, shared_daemon, make_shared_daemon, seed):
    deliveries = [d for capture in capture_files.all_captures() for d in capture.deliveries]
    random.Random(seed).shuffle(deliveries)
    other = make_shared_daemon("--default-user", HOUSE)
    replay(other, deliveries)
    shuffled = verdicts(other)
    assert {sid: without_history(v) for sid, v in shuffled.items()} == {sid: without_history(v) for sid, v in recorded.items()}
    facts = 'SELECT "roomSid", facts FROM call_facts ORDER BY "roomSid"'
    assert other.database.query(facts) == shared_daemon.database.query(facts)
    other.finish()


def test_both_stores_keep_the_same_facts_and_verdicts(start_daemon):
    """Each store gets the captures in another order, some of them twice."""
    kept = {}
    for seed, store in enumerate(("sqlite", "postgres"), 2):
        deliveries = [d for capture in capture_files.all_captures() for d in capture.deliveries]
        deliveries += deliveries[::5]
        random.Random(seed).shuffle(deliveries)
        daemon = start_daemon("--default-user", HOUSE, store=store)
        connection = daemon.connect()
        for d in deliveries:
            assert daemon.post(d.body, connection=connection).status == 200
        connection.close()
        verdicts(daemon)
        as_text = "::text" if store == "postgres" else ""
        kept[store] = daemon.database.query(f'SELECT "roomSid", facts, verdict{as_text}, outcome, "startedAtMs", "endedAtMs", "roomStartedAtMs", "userId" '
                                            'FROM call_facts ORDER BY "roomSid"')
    assert len(kept["sqlite"]) == len(recorded_calls())
    assert sorted(kept["sqlite"]) == sorted(kept["postgres"])
