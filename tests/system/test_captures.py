"""Every recorded call through the whole path on both stores, and its verdict held against the truth.

tests/captures/expected.tsv holds the verdict of each call. A change of it must be made knowingly: UPDATE_EXPECTED=1 writes it anew."""

import json
import os
import random
import re
import time

import pytest

from support import captures as capture_files
from support.captures import Call
from support.daemon import Daemon

pytestmark = pytest.mark.integration

EXPECTED = capture_files.FOLDER / "expected.tsv"
COLUMNS = ("capture", "room", "truth", "outcome", "confidence", "reason", "rule", "judgement")
HOUSE = "tenant-of-the-rest"


def calls() -> list[Call]:
    """All recorded calls of which LiveKit said anything."""
    return [call for capture in capture_files.all_captures() for call in capture.calls if call.room_sid]


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


def judge(call: Call, verdict: dict) -> str:
    if verdict["outcome"] in call.accept:
        return "right"
    return "wrong" if verdict["confidence"] == "certain" else "unsure"


def row_of(call: Call, verdict: dict) -> tuple[str, ...]:
    return (call.capture, call.room_name, "|".join(call.accept), verdict["outcome"], verdict["confidence"], verdict["reason"], verdict["rule"],
            judge(call, verdict))


def replay(daemon: Daemon, deliveries: list[capture_files.Delivery]) -> None:
    connection = daemon.connect()
    for d in deliveries:
        reply = daemon.post(d.body, connection=connection)
        assert reply.status == 200
        assert reply.json()["status"] in ("processed", "ignored"), reply.body
    connection.close()


def verdicts(daemon: Daemon) -> dict[str, dict]:
    """Each call's outcome as its tenant reads it, by room SID; waits until the sweeper has closed all of them."""
    deadline = time.monotonic() + 30
    while daemon.database.count("call_facts", "outcome IS NULL") > 0:
        assert time.monotonic() < deadline, daemon.database.query('SELECT "roomSid", "roomName" FROM call_facts WHERE outcome IS NULL')
        time.sleep(0.1)
    found = {}
    for call in calls():
        reply = daemon.outcome(call.room_sid, tenant_of(call))
        assert reply.status == 200, (call.capture, reply.body)
        found[call.room_sid] = reply.json()
    return found


@pytest.fixture(scope="module")
def recorded(shared_daemon: Daemon) -> dict[str, dict]:
    """The verdicts after everything was delivered in its recorded order."""
    replay(shared_daemon, [d for capture in capture_files.all_captures() for d in capture.deliveries])
    return verdicts(shared_daemon)


@pytest.fixture(scope="module")
def shared_daemon(make_shared_daemon) -> Daemon:
    return make_shared_daemon("--default-user", HOUSE)


def test_every_call_is_right_or_says_that_it_is_not_sure(recorded, say, shared_daemon):
    rows = [row_of(call, recorded[call.room_sid]) for call in calls()]
    widths = [max(len(row[i]) for row in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    count = {judgement: sum(row[-1] == judgement for row in rows) for judgement in ("right", "unsure", "wrong")}
    share = {c: sum(row[4] == c for row in rows) for c in ("certain", "likely", "ambiguous")}
    say(f"recorded calls on {shared_daemon.database.kind}: {count['right']} right, {count['unsure']} wrong but not certain, "
        f"{count['wrong']} wrong and certain, of {len(rows)}; {share['certain']} certain, {share['likely']} likely, "
        f"{share['ambiguous']} ambiguous ({100 * share['ambiguous'] / len(rows):.0f} %)")
    if shared_daemon.database.kind == "sqlite":
        say("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [COLUMNS, *rows]))
    assert [row for row in rows if row[-1] == "wrong"] == []


def test_the_verdicts_are_the_expected_ones(recorded):
    lines = ["\t".join(COLUMNS), *("\t".join(row_of(call, recorded[call.room_sid])) for call in calls())]
    if os.environ.get("UPDATE_EXPECTED") == "1":
        EXPECTED.write_text("\n".join(lines) + "\n")
    assert lines == EXPECTED.read_text().splitlines(), "if the new verdicts are better: UPDATE_EXPECTED=1"


def test_directions_and_times_are_the_true_ones(recorded):
    wrong = []
    for call in calls():
        seen, truth = recorded[call.room_sid], call.truth
        if seen["direction"] not in (truth["direction"], None):
            wrong.append(f"{call.capture}: direction {seen['direction']}, in truth {truth['direction']}")
        if seen["confidence"] == "certain" and seen["answeredAt"] is not None and not truth["answered"]:
            wrong.append(f"{call.capture}: answeredAt {seen['answeredAt']} of a call that nobody answered")
    assert wrong == []


def test_numbers_and_legs_are_the_recorded_ones(recorded):
    for call in calls():
        seen = recorded[call.room_sid]
        attributes = [e["participant"].get("attributes", {}) for e in (d.event for d in call.deliveries)
                      if e.get("participant", {}).get("kind") == "SIP"]
        assert seen["phoneNumber"] in {a.get("sip.phoneNumber") for a in attributes} or (not attributes and seen["phoneNumber"] is None)
        assert seen["sipCallId"] in {a.get("sip.callID") for a in attributes} or (not attributes and seen["sipCallId"] is None)


def test_recordings_are_attached_and_change_no_outcome(recorded):
    located = {}
    for call in calls():
        for event in (d.event for d in call.deliveries):
            for result in event.get("egressInfo", {}).get("fileResults", []):
                if event["event"] == "egress_ended" and result.get("location"):
                    located[call.room_sid] = result["location"]
    assert located
    for sid, location in located.items():
        assert recorded[sid]["recordingUrl"] == location
        assert recorded[sid]["outcome"] == "completed"


def test_evidence_names_events_of_the_call(recorded):
    for call in calls():
        ids = {d.event["id"] for d in call.deliveries}
        for evidence in recorded[call.room_sid]["evidence"]:
            assert evidence["eventId"] is None or evidence["eventId"] in ids
            assert evidence["says"]


def test_every_event_is_in_the_journal_and_none_is_aside(recorded, shared_daemon):
    sent = {d.event["id"] for capture in capture_files.all_captures() for d in capture.deliveries}
    assert shared_daemon.database.event_ids() == sent
    assert shared_daemon.database.query('SELECT "eventId", "errorMessage" FROM livekit_call_events WHERE processed = 0') == []
    assert shared_daemon.database.count("livekit_call_events", '"userId" IS NULL') == 0
    assert shared_daemon.database.count("call_logs") == len(calls())


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


@pytest.mark.unit
def test_silent_captures_are_known():
    """LiveKit says nothing at all about a call to a trunk without dispatch rule: nobody can judge what never arrived."""
    silent = [capture.name for capture in capture_files.all_captures() if not capture.deliveries]
    assert sorted(silent) == ["in-no-rule", "in-no-rule-40s"]
