"""outcomed explain: recordings, journal exports and stored calls as a ladder on the terminal, with facts, rule, verdict and sentence."""

import json
import os
import pathlib
import pty
import re
import select
import subprocess
import time
import urllib.parse

import pytest

from support import captures as capture_files
from support import daemon as daemons
from support.daemon import Daemon
from support.events import CallMaker

pytestmark = pytest.mark.integration

BUSY = capture_files.FOLDER / "out-486.jsonl"
UTF8 = {"LANG": "C.UTF-8"}
RUNG = re.compile(r"^ +[~≈]?(\d+\.\d{3}|\d+:\d\d:\d\d)  ")


@pytest.fixture
def explain(outcomed_binary: pathlib.Path, tmp_path: pathlib.Path):
    """explain(*words, env={}, input=b'') gives (exit code, stdout, stderr)."""

    def run(*words, env: dict | None = None, input: bytes = b"") -> tuple[int, str, str]:
        done = subprocess.run([outcomed_binary, "explain", *words], env=daemons.environment(env, keys=False), cwd=tmp_path, input=input,
                              capture_output=True, timeout=60, check=False)
        stderr = done.stderr.decode()
        assert not daemons.SANITIZER_REPORT.search(stderr), stderr
        return done.returncode, done.stdout.decode(), stderr

    return run


def rungs(text: str) -> list[str]:
    return [line for line in text.splitlines() if RUNG.match(line)]


# ---- recordings ----

@pytest.mark.parametrize("capture", capture_files.all_captures(), ids=lambda c: c.name)
def test_every_recording_is_explained_within_any_width(explain, capture):
    for width, env in ((40, {}), (60, UTF8), (100, UTF8), (500, {})):
        code, text, errors = explain(capture.path, f"--width={width}", env=env)
        if not capture.deliveries:
            assert code == 1 and "no event" in errors
            continue
        assert (code, errors) == (0, "")
        assert max(len(line) for line in text.splitlines()) <= width
        assert text.isascii() == (not env)
        assert not re.search(r"[+]?\d{9,}", text), "a phone number"
        for call in capture.calls:
            assert call.room_sid is None or call.room_sid in text
        events = {d.event["id"] for d in capture.deliveries}
        assert len(rungs(text)) == len(events)


def test_a_busy_call_is_told_with_its_rule_and_its_doubt(explain):
    code, text, _ = explain(BUSY, env=UTF8)
    assert code == 0
    assert re.search(r"LiveKit +AGENT +SIP outbound", text)
    assert re.search(r"┬ joined dialing", text) and re.search(r"┴ left ringing USER_REJECTED", text)
    for part in ("busy / rejected_ambiguous, likely; fault: callee", "or        busy / declined", "rule      out-rejected-ringing (rules ",
                 "because   USER_REJECTED while ringing  EV_", "nothing is known to be missing", "not answered"):
        assert part in text, part
    assert " ".join(text.split()).count("The dialer's SIP code would settle it.") == 1


def test_the_readme_shows_what_is_printed(explain):
    readme = (capture_files.FOLDER.parent.parent / "README.md").read_text()
    block = readme.split("$ outcomed explain tests/captures/out-486.jsonl\n")[1].split("```")[0]
    printed = {" ".join(line.split()) for line in explain(BUSY, env=UTF8)[1].splitlines()}
    assert {" ".join(line.split()) for line in block.splitlines()} <= printed


def test_times_run_from_the_beginning_and_never_back(explain):
    for name in ("out-486", "in-answered-bye", "dis-server-kill9", "egress-failed", "web-duplicate-identity"):
        _, text, _ = explain(capture_files.FOLDER / f"{name}.jsonl")
        times = [float(re.search(r"[\d.]+", line)[0]) for line in rungs(text)]
        assert times[0] == 0
        assert times == sorted(times)


def test_the_order_of_the_deliveries_does_not_matter_to_the_verdict(explain, tmp_path):
    lines = BUSY.read_text().splitlines()
    (tmp_path / "turned.jsonl").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    (tmp_path / "doubled.jsonl").write_text("\n".join(lines + lines[1:]) + "\n")
    _, straight, _ = explain(BUSY)
    for name in ("turned", "doubled"):
        code, text, _ = explain(tmp_path / f"{name}.jsonl")
        assert code == 0
        assert text.split("Facts")[1] == straight.split("Facts")[1]
        assert len(rungs(text)) == len(rungs(straight))


def test_several_calls_are_told_one_after_the_other(explain):
    _, text, _ = explain(capture_files.FOLDER / "web-same-name-twice.jsonl")
    assert text.count("Verdict") == 2
    _, text, _ = explain(capture_files.FOLDER / "mix-10.jsonl")
    assert text.count("\nVerdict") == 10


def test_what_never_came_is_named(explain, tmp_path):
    lines = [line for line in BUSY.read_text().splitlines() if "room_started" not in line or "scenario" in line]
    (tmp_path / "lost.jsonl").write_text("\n".join(lines))
    _, text, _ = explain(tmp_path / "lost.jsonl")
    assert "never came: the room was never announced" in text


def test_phone_numbers_are_shown_only_when_asked_for(explain):
    _, masked, _ = explain(BUSY)
    _, shown, _ = explain(BUSY, "--show-numbers")
    assert "+12065550111" not in masked and "sip_+*********11" in masked
    assert "sip_+12065550111" in shown


def test_what_is_in_a_name_cannot_command_the_terminal(explain, tmp_path):
    call = CallMaker(room_name="r\x1b]0;evil\x07\u202e\u009b")
    member = call.agent_member(identity="agent\x1b[2J\r\n\u200b日本")
    events = [call.event("room_started", 0), call.event("participant_joined", 1, participant=member), call.event("room_finished", 3)]
    (tmp_path / "evil.jsonl").write_text("\n".join(json.dumps(e) for e in events))
    for env in ({}, UTF8):
        code, text, _ = explain(tmp_path / "evil.jsonl", env=env)
        assert code == 0
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e]", text)
    assert "日本" in text


def test_one_event_and_standard_input(explain, tmp_path):
    event = json.dumps(CallMaker().event("room_started", 0))
    (tmp_path / "one.json").write_text(event)
    code, text, _ = explain("one.json")
    assert code == 0 and "room started" in text
    code, text, _ = explain("-", input=event.encode())
    assert code == 0 and "room started" in text


def test_an_event_that_belongs_nowhere_is_counted(explain, tmp_path):
    call = CallMaker()
    stray = call.event("track_published", 1)
    stray["room"] = {"name": "another room"}
    (tmp_path / "stray.jsonl").write_text("\n".join(json.dumps(e) for e in (call.event("room_started", 0), stray, {"event": "x"})))
    code, text, _ = explain("stray.jsonl")
    assert code == 0
    assert "Left out, of no call or unreadable: 2" in text


@pytest.mark.parametrize(("content", "exit_code"), [(b"", 1), (b"{", 2), (b"[1]", 2), (b"nonsense", 2), (b'{"events":[{"a":1}]}', 2), (b"[]", 1),
                                                    (b'{"body": 5}', 2), (b"\xff\xfe", 2)])
def test_what_is_no_recording_is_refused_in_one_line(explain, content, exit_code):
    code, text, errors = explain("-", input=content)
    assert (code, text) == (exit_code, "")
    assert errors.startswith("outcomed explain: -: ") and errors.count("\n") == 1


@pytest.mark.parametrize("words", [("--width=39",), ("--width=501",), ("--width=wide",), ("--colour",), (BUSY,)])
def test_wrong_usage_is_a_2(explain, words):
    assert explain(BUSY, *words)[0] == 2


# ---- colour ----

def on_terminal(binary: pathlib.Path, env: dict) -> str:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(binary, [str(binary), "explain", str(BUSY)], env)
    shown, deadline = b"", time.monotonic() + 60
    try:
        while time.monotonic() < deadline and select.select([terminal], [], [], 10)[0]:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
            shown += chunk
        os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    return shown.decode()


def test_colour_is_for_terminals_that_want_it(outcomed_binary, explain):
    env = daemons.environment({"TERM": "xterm"} | UTF8, keys=False)
    coloured = on_terminal(outcomed_binary, env)
    assert "\x1b[33m" in coloured
    for other in (env | {"NO_COLOR": "1"}, env | {"TERM": "dumb"}, {k: v for k, v in env.items() if k != "TERM"}):
        plain = on_terminal(outcomed_binary, other)
        assert "\x1b" not in plain
    assert re.sub("\x1b\\[\\d+m", "", coloured) == plain
    assert "\x1b" not in explain(BUSY, env={"TERM": "xterm"} | UTF8)[1]


# ---- calls of the database ----

@pytest.fixture
def kept(daemon: Daemon):
    """A call with marks, one of them another tenant's."""
    call = CallMaker("acme")
    for event in call.unanswered():
        assert daemon.post_event(event).status == 200
    at = time.strftime("%Y-%m-%dT%H:%M:%S.250Z", time.gmtime(call.started_s + 39))
    for code, text in ((603, "Decline"), (486, "Busy Here")):
        mark = {"roomSid": call.sid, "source": "dialer", "kind": "sip_result", "sipCode": code, "sipText": text, "at": at}
        reply = daemon.request("POST", "/api/marks?user_id=acme", json.dumps(mark).encode(), {"Content-Type": "application/json"})
        assert reply.status == 200, reply.body
    return daemon, call


def test_a_stored_call_is_explained_as_its_tenant_sees_it(explain, kept):
    daemon, call = kept
    row = daemon.outcome(call.sid, "acme").json()
    for key in (call.sid, row["id"]):
        code, text, errors = explain(key, "--user=acme", f"--database={daemon.database.url}", env=UTF8)
        assert (code, errors) == (0, "")
        assert "◆ dialer: SIP 603 Decline (superseded)" in text
        assert "◆ dialer: SIP 486 Busy Here\n" in text
        assert f"{row['outcome']} / {row['reason']}, {row['confidence']}" in text
        assert f"revision {row['revision']}, rules {row['rules']}: as above" in text
        assert f"revision {row['revision'] - 1} was " in text
        assert len(rungs(text)) == 8
        assert " ".join(row["explanation"].split()) in " ".join(text.split())


def test_a_page_of_the_events_and_rows_of_the_table_say_the_same(explain, kept, tmp_path):
    daemon, call = kept
    page = daemon.get(f"/api/calls/{call.sid}/events?user_id=acme&limit=200")
    rows = page.json()["events"]
    texts = [row | {"rawPayload": json.dumps(row["rawPayload"])} for row in rows]  # as sqlite3 -json writes them
    forms = {"page": page.body.decode(), "array": json.dumps(rows), "lines": "\n".join(json.dumps(row) for row in rows), "texts": json.dumps(texts)}
    expected = None
    for name, form in forms.items():
        (tmp_path / name).write_text(form)
        code, text, errors = explain(name)
        assert (code, errors) == (0, ""), name
        expected = expected or text
        assert text == expected, name
    stored = explain(call.sid, "--user=acme", f"--database={daemon.database.url}")[1]
    assert stored.startswith(expected.rstrip("\n"))


@pytest.mark.multitenant
def test_another_tenants_call_is_as_missing_as_none(explain, kept):
    daemon, call = kept
    database = f"--database={daemon.database.url}"
    answers = {explain(key, f"--user={user}", database)[2].replace(key, "KEY")
               for key, user in ((call.sid, "globex"), ("RM_nosuchcall", "globex"), (call.sid, "ACME"), ("RM_nosuchcall", "acme"))}
    assert len(answers) == 1
    assert "no such call" in answers.pop()
    assert explain(call.sid, "--user=globex", database)[0] == 1


@pytest.mark.multitenant
def test_another_tenants_mark_is_not_told(explain, kept):
    daemon, call = kept
    daemon.database.query('UPDATE livekit_call_events SET "userId" = ? WHERE "eventId" IN (SELECT "eventId" FROM livekit_call_events '
                          "WHERE source = ? ORDER BY id LIMIT 1)", "globex", "mark")
    _, text, _ = explain(call.sid, "--user=acme", f"--database={daemon.database.url}")
    assert "603" not in text.split("Facts")[0]


def test_a_call_needs_a_user_and_a_database(explain, kept, tmp_path):
    daemon, call = kept
    code, _, errors = explain(call.sid, f"--database={daemon.database.url}")
    assert code == 2 and "--user" in errors
    code, _, errors = explain(call.sid, "--user=acme", "--database=sqlite:nowhere.db")
    assert code != 0 and "nowhere.db" in errors
    assert explain("no-such-file.jsonl")[0] == 2


def test_an_open_call_says_when_it_is_looked_at_again(explain, daemon: Daemon):
    call = CallMaker("acme")
    for event in call.answered()[:4]:
        assert daemon.post_event(event).status == 200
    _, text, _ = explain(call.sid, "--user=acme", f"--database={daemon.database.url}")
    assert "the call is open; it is looked at again at 20" in text
    assert "revision 0, rules " in text
    assert urllib.parse.quote(call.number) not in text
