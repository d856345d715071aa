"""The verdict of every recorded call held against what really happened, by the pure core alone.

tests/captures/expected.tsv holds them all. A change of it must be made knowingly: UPDATE_EXPECTED=1 writes it anew."""

import datetime
import json
import os
import subprocess

import pytest

from support import captures as capture_files
from support import witnesses

pytestmark = pytest.mark.unit

EXPECTED = capture_files.FOLDER / "expected.tsv"
COLUMNS = ("capture", "room", "truth", "outcome", "confidence", "reason", "rule", "grade", "with dialer", "with polls")
GRADE = COLUMNS.index("grade")
POLL_INTERVAL_MS = 300
POLLED = {p.name.removesuffix(".polls.jsonl") for p in capture_files.FOLDER.glob("*.polls.jsonl")}


@pytest.fixture(scope="module")
def dialer(tmp_path_factory) -> str:
    """The marks of the dialer of every outbound call, as a file for classify_captures."""
    path = tmp_path_factory.mktemp("marks") / "dialer.jsonl"
    path.write_text("".join(json.dumps(mark) + "\n" for mark in witnesses.dialer_marks()))
    return str(path)


@pytest.fixture(scope="module")
def with_dialer(build_folder, dialer) -> dict[str, dict]:
    return capture_files.classified(build_folder, "--marks", dialer)


@pytest.fixture(scope="module")
def with_polls(build_folder) -> dict[str, dict]:
    return capture_files.classified(build_folder, "--polls")


@pytest.fixture(scope="module")
def rows(build_folder, with_dialer, with_polls) -> list[tuple[str, ...]]:
    verdicts = capture_files.classified(build_folder)
    dialed = {mark["roomSid"] for mark in witnesses.dialer_marks()}
    found = []
    for call in capture_files.recorded_calls():
        v = verdicts[call.room_sid]
        found.append((call.capture, call.room_name, "|".join(call.accept), v["outcome"], v["confidence"], v["reason"], v["rule"], grade(call, v),
                      short(with_dialer[call.room_sid]) if call.room_sid in dialed else "-",
                      short(with_polls[call.room_sid]) if call.capture in POLLED else "-"))
    return found


def short(verdict: dict) -> str:
    return f"{verdict['outcome']}/{verdict['reason']} {verdict['confidence']}"


def grade(call: capture_files.Call, verdict: dict) -> str:
    """wrong: certain of what is not so. right: so, and not ambiguous. unsure: anything else."""
    accepted = verdict["outcome"] in call.accept
    if verdict["confidence"] == "certain" and not accepted:
        return "wrong"
    return "right" if accepted and verdict["confidence"] != "ambiguous" else "unsure"


def test_every_call_is_right_or_says_that_it_is_not_sure(rows, say):
    grades = {g: sum(row[GRADE] == g for row in rows) for g in ("right", "unsure", "wrong")}
    share = {c: sum(row[4] == c for row in rows) for c in ("certain", "likely", "ambiguous")}
    widths = [max(len(row[i]) for row in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    say("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [COLUMNS, *rows]))
    say(f"{len(rows)} recorded calls: {grades['right']} right, {grades['unsure']} unsure, {grades['wrong']} wrong and certain; "
        f"{share['certain']} certain, {share['likely']} likely, {share['ambiguous']} ambiguous ({100 * share['ambiguous'] / len(rows):.0f} %)")
    assert [row for row in rows if row[GRADE] == "wrong"] == []


def test_the_verdicts_are_the_expected_ones(rows):
    lines = ["\t".join(row) for row in [COLUMNS, *rows]]
    if os.environ.get("UPDATE_EXPECTED") == "1":
        EXPECTED.write_text("\n".join(lines) + "\n")
    assert lines == EXPECTED.read_text().splitlines(), "if the new verdicts are better: UPDATE_EXPECTED=1"


def test_the_truth_is_always_among_what_is_named(build_folder):
    """Right, or a doubt that lists what really happened; certain where nothing else can be, and ambiguous in few calls only."""
    verdicts = capture_files.classified(build_folder)
    calls = capture_files.recorded_calls()
    for call in calls:
        v = verdicts[call.room_sid]
        named = {v["outcome"]} | {a["outcome"] for a in v["alternatives"]}
        assert named & set(call.accept), (call.capture, call.room_name, v["outcome"], v["alternatives"])
    ambiguous = sum(verdicts[call.room_sid]["confidence"] == "ambiguous" for call in calls)
    assert ambiguous <= 0.15 * len(calls)


def test_the_dialers_word_makes_every_dialed_call_right(with_dialer, say):
    dialed = {mark["roomSid"] for mark in witnesses.dialer_marks()}
    calls = [call for call in capture_files.recorded_calls() if call.room_sid in dialed]
    grades = [grade(call, with_dialer[call.room_sid]) for call in calls]
    certain = sum(with_dialer[call.room_sid]["confidence"] == "certain" for call in calls)
    say(f"{len(calls)} dialed calls with the dialer's reply: {grades.count('right')} right, {certain} of them certain")
    assert [(call.capture, call.room_name, short(with_dialer[call.room_sid])) for call, g in zip(calls, grades, strict=True) if g != "right"] == []
    assert len(calls) >= 50


def test_every_call_is_right_with_a_second_witness(with_dialer, with_polls):
    left = [call for call in capture_files.recorded_calls()
            if grade(call, with_dialer[call.room_sid]) != "right" and grade(call, with_polls[call.room_sid]) != "right"]
    assert [(call.capture, call.room_name) for call in left] == []


def test_recorded_polls_tell_the_answer_within_their_interval(with_polls, say):
    off = {}
    for call in capture_files.recorded_calls():
        if call.capture not in POLLED:
            continue
        v = with_polls[call.room_sid]
        assert grade(call, v) == "right"
        answered = call.truth.get("answeredAtMs")
        assert (v["answeredSource"] == "watcher") == bool(answered), call.capture
        if answered:
            earliest, at, latest = (milliseconds(v[name]) for name in ("answeredAtEarliest", "answeredAt", "answeredAtLatest"))
            assert earliest <= answered <= latest
            off[call.capture] = at - answered
    say(f"answeredAt by polling every {POLL_INTERVAL_MS} ms, off by: " + ", ".join(f"{name} {ms} ms" for name, ms in off.items()))
    assert len(off) >= 4
    assert all(abs(ms) <= POLL_INTERVAL_MS for ms in off.values())


def milliseconds(time: str) -> int:
    return round(datetime.datetime.fromisoformat(time).timestamp() * 1000)


@pytest.mark.parametrize("witness", ["alone", "dialer", "polls"])
@pytest.mark.parametrize("withheld", [1, 2])
def test_with_events_withheld_no_verdict_is_wrong_and_certain(build_folder, say, dialer, withheld, witness):
    paths = [capture.path for capture in capture_files.all_captures()]
    options = {"alone": [], "dialer": ["--marks", dialer], "polls": ["--polls"]}[witness]
    done = subprocess.run([build_folder / "tests/property/classify_captures", "--drop", str(withheld), *options, *paths],
                          capture_output=True, timeout=150, check=False)
    *wrong, total = [json.loads(line) for line in done.stdout.splitlines()]
    say(f"{withheld} of the events of each recorded call withheld in every way ({witness}): {total['tried']} verdicts, "
        f"{total['wrongAndCertain']} wrong and certain")
    assert [(w["file"].rsplit("/", 1)[-1], w["dropped"], w["outcome"], w["rule"]) for w in wrong] == []
    assert total["tried"] >= 900
    assert done.returncode == 0, done.stderr


def test_silent_captures_are_known():
    """LiveKit says nothing at all about a call to a trunk without dispatch rule: nobody can judge what never arrived."""
    silent = [capture.name for capture in capture_files.all_captures() if not capture.deliveries]
    assert sorted(silent) == ["in-no-rule", "in-no-rule-40s"]
