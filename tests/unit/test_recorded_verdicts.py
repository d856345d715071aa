"""The verdict of every recorded call held against what really happened, by the pure core alone.

tests/captures/expected.tsv holds them all. A change of it must be made knowingly: UPDATE_EXPECTED=1 writes it anew."""

import json
import os
import subprocess

import pytest

from support import captures as capture_files

pytestmark = pytest.mark.unit

EXPECTED = capture_files.FOLDER / "expected.tsv"
COLUMNS = ("capture", "room", "truth", "outcome", "confidence", "reason", "rule", "grade")


@pytest.fixture(scope="module")
def rows(build_folder) -> list[tuple[str, ...]]:
    verdicts = capture_files.classified(build_folder)
    found = []
    for call in capture_files.recorded_calls():
        v = verdicts[call.room_sid]
        found.append((call.capture, call.room_name, "|".join(call.accept), v["outcome"], v["confidence"], v["reason"], v["rule"], grade(call, v)))
    return found


def grade(call: capture_files.Call, verdict: dict) -> str:
    """wrong: certain of what is not so. right: so, and not ambiguous. unsure: anything else."""
    accepted = verdict["outcome"] in call.accept
    if verdict["confidence"] == "certain" and not accepted:
        return "wrong"
    return "right" if accepted and verdict["confidence"] != "ambiguous" else "unsure"


def test_every_call_is_right_or_says_that_it_is_not_sure(rows, say):
    grades = {g: sum(row[-1] == g for row in rows) for g in ("right", "unsure", "wrong")}
    share = {c: sum(row[4] == c for row in rows) for c in ("certain", "likely", "ambiguous")}
    widths = [max(len(row[i]) for row in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    say("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [COLUMNS, *rows]))
    say(f"{len(rows)} recorded calls: {grades['right']} right, {grades['unsure']} unsure, {grades['wrong']} wrong and certain; "
        f"{share['certain']} certain, {share['likely']} likely, {share['ambiguous']} ambiguous ({100 * share['ambiguous'] / len(rows):.0f} %)")
    assert [row for row in rows if row[-1] == "wrong"] == []


def test_the_verdicts_are_the_expected_ones(rows):
    lines = ["\t".join(row) for row in [COLUMNS, *rows]]
    if os.environ.get("UPDATE_EXPECTED") == "1":
        EXPECTED.write_text("\n".join(lines) + "\n")
    assert lines == EXPECTED.read_text().splitlines(), "if the new verdicts are better: UPDATE_EXPECTED=1"


@pytest.mark.parametrize("withheld", [1, 2])
def test_with_events_withheld_no_verdict_is_wrong_and_certain(build_folder, say, withheld):
    paths = [capture.path for capture in capture_files.all_captures()]
    done = subprocess.run([build_folder / "tests/property/classify_captures", "--drop", str(withheld), *paths],
                          capture_output=True, timeout=150, check=False)
    *wrong, total = [json.loads(line) for line in done.stdout.splitlines()]
    say(f"{withheld} of the events of each recorded call withheld in every way: {total['tried']} verdicts, "
        f"{total['wrongAndCertain']} wrong and certain")
    assert [(w["file"].rsplit("/", 1)[-1], w["dropped"], w["outcome"], w["rule"]) for w in wrong] == []
    assert total["tried"] >= 900
    assert done.returncode == 0, done.stderr


def test_silent_captures_are_known():
    """LiveKit says nothing at all about a call to a trunk without dispatch rule: nobody can judge what never arrived."""
    silent = [capture.name for capture in capture_files.all_captures() if not capture.deliveries]
    assert sorted(silent) == ["in-no-rule", "in-no-rule-40s"]
