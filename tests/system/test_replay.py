"""outcomed replay on both stores, beside the daemon: what comes out the same is not touched, what was damaged is mended to the same bytes, and what
the journal cannot say any more is left alone."""

import contextlib
import datetime
import json
import os
import pty
import random
import re
import signal
import subprocess
import threading
import time

import pytest

from support import captures as capture_files
from support.daemon import Daemon, Database, environment
from support.events import CallMaker, new_id
from support.replay import dump, replay

pytestmark = pytest.mark.integration

HOUSE = "tenant-of-the-rest"


def facts_rows(database: Database, where: str = "1 = 1", *arguments) -> dict[str, dict]:
    """The rows of call_facts by room SID, but for when they were written."""
    names = ("roomSid", "roomName", "userId", "tenantError", "callLogId", "callLogIsOurs", "facts", "rules", "verdict", "outcome", "revision",
             "startedAtMs", "endedAtMs", "dueAtMs", "roomStartedAtMs")
    columns = ", ".join(f'"{n}"' + ("::text" if n == "verdict" and database.kind == "postgres" else "") for n in names)
    return {row[0]: dict(zip(names, row, strict=True)) for row in database.query(f"SELECT {columns} FROM call_facts WHERE {where}", *arguments)}


def facts_row(database: Database, sid: str) -> dict:
    return facts_rows(database, '"roomSid" = ?', sid).get(sid, {})


def events_of(database: Database, sid: str | None = None) -> list[tuple]:
    """What a call's journal says beside what came."""
    where, arguments = ('"roomSid" = ?', [sid]) if sid else ("1 = 1", [])
    return database.query('SELECT "eventId", "roomSid", processed, "errorMessage", "userId", "callLogId" FROM livekit_call_events '
                          f'WHERE {where} ORDER BY "eventId"', *arguments)


def settle(daemon: Daemon) -> None:
    """Waits until the sweeper has looked at all that is due."""
    deadline = time.monotonic() + 40
    while daemon.database.count("call_facts", 'outcome IS NULL AND "dueAtMs" < ?', int((time.time() + 20) * 1000)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def run_replay(outcomed_binary):
    def run(database: Database, *arguments: str, default_user: str | None = HOUSE) -> subprocess.CompletedProcess:
        return replay(outcomed_binary, database, *(["--default-user", default_user] if default_user else []), *arguments)

    return run


@pytest.fixture(scope="module")
def shared_daemon(make_shared_daemon) -> Daemon:
    return make_shared_daemon("--default-user", HOUSE)


@pytest.fixture(scope="module")
def recorded(shared_daemon: Daemon) -> Daemon:
    """A daemon that serves and has taken all captures, shuffled, a third of them twice, with bodies among them that nobody can read, events of
    types that say nothing, recordings that wait for their call, and a call that two tenants claim."""
    bodies = [d.body for capture in capture_files.all_captures() for d in capture.deliveries]
    bodies += bodies[::3] + [b"not json", b'{"event": "room_started", "id": 5}']
    disputed = CallMaker(tenant="one")
    disputed.sid = "RM_disputed"
    events = disputed.answered()
    events[-1]["room"] = events[-1]["room"] | {"metadata": json.dumps({"user_id": "two"})}
    waiting = {"event": "egress_started", "id": new_id("EV"), "createdAt": "1795353139", "egressInfo": {"egressId": "EG_1", "roomName": "nowhere"}}
    unread = disputed.event("participant_joined", 3, participant={"sid": 7})
    bodies += [json.dumps(e).encode() for e in [*events, waiting, unread, {"event": "new_thing", "id": "EV_new", "room": {"sid": events[0]["room"]["sid"]}}]]
    random.Random(7).shuffle(bodies)
    connection = shared_daemon.connect()
    for body in bodies[::2]:
        assert shared_daemon.post(body, connection=connection).status == 200
    for mark, user in marks():
        assert shared_daemon.request("POST", f"/api/marks?user_id={user}" if user else "/api/marks", json.dumps(mark).encode()).status == 200
    for body in bodies[1::2]:
        assert shared_daemon.post(body, connection=connection).status == 200
    connection.close()
    settle(shared_daemon)
    return shared_daemon


def marks() -> list[tuple[dict, str | None]]:
    """Of a call's own tenant, of another one, of nobody in particular; by room, by leg, and of a leg that nobody ever saw."""
    found = []
    for n, call in enumerate(c for c in capture_files.recorded_calls() if c.capture.startswith("out-")):
        legs = [d.event["participant"]["attributes"]["sip.callID"] for d in call.deliveries if d.event.get("participant", {}).get("kind") == "SIP"]
        mark = {"source": "dialer", "kind": "note", "value": f"note {n}"} | ({"sipCallId": legs[0]} if n % 3 else {"roomSid": call.room_sid})
        found.append((mark, ["user-1", "stranger", None][n % 4 % 3]))
    return [*found, ({"source": "dialer", "sipCallId": "SCL_nobody", "sipCode": 486}, None)]


@pytest.fixture
def whole(recorded: Daemon, run_replay):
    """The daemon; after the test its rows must be as they were before it, but for when they were written."""
    database = recorded.database
    rows, events, others = facts_rows(database), events_of(database), dump(database, ("call_legs", "call_revisions"))
    yield recorded
    after = facts_rows(database)
    assert {(sid, name): (was, after[sid].get(name)) for sid in rows for name, was in rows[sid].items() if was != after[sid].get(name)} == {}
    assert [(was, now) for was, now in zip(events, events_of(database), strict=True) if was != now] == []
    assert dump(database, ("call_legs", "call_revisions")) == others


def an_outbound(nth: int = 0) -> str:
    """The room SID of an outbound call that ended by an event."""
    calls = [c for c in capture_files.recorded_calls() if c.capture.startswith("out-")]
    return calls[nth].room_sid


# ---- nothing changes ----

def test_marks_of_all_kinds_are_among_what_is_replayed(recorded: Daemon):
    found = recorded.database.query("SELECT processed, \"errorMessage\", count(*) FROM livekit_call_events WHERE source = 'mark' GROUP BY 1, 2")
    reasons = {row[1] for row in found}
    assert reasons == {None, "its call is another tenant's", "waits for its call"}, found

def test_every_row_comes_out_byte_for_byte_the_same(recorded: Daemon, run_replay):
    before = dump(recorded.database)
    done = run_replay(recorded.database)
    assert dump(recorded.database) == before
    assert done.returncode == 0, done.stdout + done.stderr
    calls, events = len(before["call_facts"]), sum("RM_" in row for row in before["livekit_call_events"])
    said = re.search(r"(\d+) calls and (\d+) events read in [\d.]+ s: 0 calls changed, 0 left alone", done.stdout)
    assert said and int(said[1]) == calls and events - 10 <= int(said[2]) <= events, done.stdout
    assert "replay: 100 %" in done.stderr
    assert "events stay aside" in done.stdout


def test_a_replay_without_the_default_user_takes_no_tenant_away(recorded: Daemon, run_replay):
    before = dump(recorded.database)
    done = run_replay(recorded.database, default_user=None)
    assert (done.returncode, dump(recorded.database)) == (0, before), done.stdout


def test_open_calls_are_not_ended_by_a_replay(start_daemon, database: Database, run_replay):
    daemon = start_daemon(database=database)
    call = CallMaker()
    for event in call.answered()[:6]:
        assert daemon.post_event(event).status == 200
    assert daemon.stop() == 0
    old = int(time.time() * 1000) - 3600_000
    database.query('UPDATE call_facts SET "dueAtMs" = ?', old)
    before = dump(database)
    done = run_replay(database)
    assert (done.returncode, dump(database)) == (0, before), done.stdout


# ---- what was damaged ----

DAMAGES = {
    "facts-garbage": "facts = 'rubbish'",
    "facts-empty": "facts = NULL",
    "facts-altered": "facts = replace(facts, '+1', '+49')",
    "verdict-altered": """verdict = '{"outcome":"busy","reason":"busy","confidence":"certain"}'""",
    "verdict-garbage": "verdict = '\"rubbish\"'",
    "verdict-gone": "verdict = NULL",
    "outcome-altered": "outcome = 'completed'",
    "times-altered": '"startedAtMs" = 1, "endedAtMs" = 2',
    "rules-altered": "rules = 0",
    "room-altered": '"roomStartedAtMs" = NULL',
    "name-altered": "\"roomName\" = 'another'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_row_is_mended_to_the_same_bytes(whole: Daemon, run_replay, damage):
    database, sid = whole.database, an_outbound()
    before = facts_row(database, sid)
    database.query(f'UPDATE call_facts SET {DAMAGES[damage]} WHERE "roomSid" = ?', sid)
    damaged = dump(database)
    dry = run_replay(database, "--dry-run")
    assert dump(database) == damaged
    assert "1 calls would change" in dry.stdout and "dry run: nothing was written" in dry.stdout and sid in dry.stdout, dry.stdout
    done = run_replay(database)
    assert done.returncode == 0 and "1 calls changed" in done.stdout, done.stdout
    assert facts_row(database, sid) == before
    assert "0 calls changed" in run_replay(database).stdout


def test_a_row_that_is_gone_is_made_again(whole: Daemon, run_replay):
    database, sid = whole.database, an_outbound(1)
    before, events = facts_row(database, sid), events_of(database, sid)
    logs = database.query('SELECT id, outcome, status FROM call_logs ORDER BY id')
    database.query('DELETE FROM call_facts WHERE "roomSid" = ?', sid)
    done = run_replay(database, default_user=None)
    assert done.returncode == 0 and "row made that was missing" in done.stdout, done.stdout
    assert facts_row(database, sid) == before
    assert events_of(database, sid) == events
    assert database.query('SELECT id, outcome, status FROM call_logs ORDER BY id') == logs


def test_all_rows_gone_are_all_made_again(whole: Daemon, run_replay):
    database = whole.database
    database.query("DELETE FROM call_facts")
    done = run_replay(database)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_disputed_call_comes_out_disputed(whole: Daemon, run_replay):
    database, sid = whole.database, "RM_disputed"
    before = facts_row(database, sid)
    assert "disagree" in before["tenantError"] and before["userId"] is None
    assert {row[2] for row in events_of(database, sid)} == {0}
    database.query('DELETE FROM call_facts WHERE "roomSid" = ?', sid)
    assert run_replay(database, "--call", sid).returncode == 0
    assert facts_row(database, sid) == before


def test_one_call_by_row_or_by_room(whole: Daemon, run_replay):
    database, sid, other = whole.database, an_outbound(), an_outbound(2)
    log = facts_row(database, sid)["callLogId"]
    for given in (sid, log):
        database.query('UPDATE call_facts SET facts = ? WHERE "roomSid" IN (?, ?)', "rubbish", sid, other)
        done = run_replay(database, "--call", given)
        assert done.returncode == 0 and done.stdout.splitlines()[0].startswith(sid), done.stdout
        assert facts_row(database, other)["facts"] == "rubbish"
    assert run_replay(database, "--call", other).returncode == 0


def test_since_looks_only_at_calls_that_were_heard_of(whole: Daemon, run_replay):
    database, sid = whole.database, an_outbound()
    created = database.query('SELECT "eventId", "createdAt" FROM livekit_call_events WHERE "roomSid" = ?', sid)
    old = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    stamp = "2020-01-01T00:00:00.000Z" if database.kind == "sqlite" else old
    database.query('UPDATE livekit_call_events SET "createdAt" = ? WHERE "roomSid" = ?', stamp, sid)
    database.query('UPDATE call_facts SET facts = ? WHERE "roomSid" = ?', "rubbish", sid)
    assert "0 calls changed" in run_replay(database, "--since", "7d").stdout
    assert " 0 calls and 0 events read" in " " + run_replay(database, "--since", "2100-01-01T00:00:00Z").stdout
    assert "1 calls changed" in run_replay(database, "--since", "2019-12-31T00:00:00Z").stdout
    for event_id, at in created:
        database.query('UPDATE livekit_call_events SET "createdAt" = ? WHERE "eventId" = ?', at, event_id)


# ---- what cannot be read ----

@contextlib.contextmanager
def without(database: Database, event_id: str):
    """The journal without one event, for a while."""
    names = ('"userId"', '"callLogId"', '"eventId"', "event", '"roomName"', '"roomSid"', '"participantIdentity"', '"participantSid"', "timestamp",
             '"rawPayload"', '"rawBody"', "processed", '"errorMessage"', '"createdAt"', '"processedAt"', "source", '"bodyHash"', '"keyId"', '"sipCallId"')
    columns = ", ".join(names)
    database.query(f'CREATE TABLE kept_event AS SELECT {columns} FROM livekit_call_events WHERE "eventId" = ?', event_id)
    database.query('DELETE FROM livekit_call_events WHERE "eventId" = ?', event_id)
    yield
    database.query(f"INSERT INTO livekit_call_events ({columns}) SELECT {columns} FROM kept_event")
    database.query("DROP TABLE kept_event")


def first_event(database: Database, sid: str, kind: str) -> str:
    return database.query('SELECT "eventId" FROM livekit_call_events WHERE "roomSid" = ? AND event = ? ORDER BY "eventId"', sid, kind)[0][0]


@pytest.mark.parametrize("kind", ["room_started", "participant_left", "room_finished"])
def test_a_pruned_journal_costs_no_facts(whole: Daemon, run_replay, kind):
    database, sid = whole.database, an_outbound()
    gone = first_event(database, sid, kind)
    with without(database, gone):
        before = dump(database)
        done = run_replay(database)
        assert done.returncode == 3, done.stdout + done.stderr
        assert dump(database) == before
        assert f"{sid}  left alone: its facts name an event that its journal does not have: {gone}" in done.stdout
        assert "1 left alone" in done.stdout
    assert run_replay(database).returncode == 0


def test_a_call_without_any_journal_keeps_its_facts(whole: Daemon, run_replay):
    database = whole.database
    database.query("INSERT INTO call_facts (\"roomSid\", facts, \"createdAt\", \"updatedAt\") SELECT 'RM_alone', replace(facts, ?, 'RM_alone'), \"createdAt\", "
                   '"updatedAt" FROM call_facts WHERE "roomSid" = ?', an_outbound(), an_outbound())
    before = dump(database)
    assert run_replay(database).returncode == 3
    assert dump(database) == before
    database.query("DELETE FROM call_facts WHERE \"roomSid\" = 'RM_alone'")


def test_what_is_left_of_a_pruned_journal_makes_a_row_where_none_is(whole: Daemon, run_replay):
    database, sid = whole.database, an_outbound()
    with without(database, first_event(database, sid, "room_started")):
        database.query('DELETE FROM call_facts WHERE "roomSid" = ?', sid)
        assert run_replay(database, "--call", sid).returncode == 0
        assert facts_row(database, sid)["facts"]
        database.query('DELETE FROM call_facts WHERE "roomSid" = ?', sid)
    assert run_replay(database, "--call", sid).returncode == 0


@pytest.mark.parametrize("payload, why", [('{"event": 5}', "an event that counted cannot be read"),
                                          ('{"event": "room_started", "id": "EV_x", "room": {"sid": "RM_elsewhere"}}', "an event in its journal names another room")])
def test_an_event_that_cannot_be_read_any_more_leaves_its_call_alone(whole: Daemon, run_replay, payload, why):
    database, sid = whole.database, an_outbound()
    event_id = first_event(database, sid, "participant_joined")
    kept = database.query('SELECT "rawPayload" FROM livekit_call_events WHERE "eventId" = ?', event_id)[0][0]
    database.query('UPDATE livekit_call_events SET "rawPayload" = ? WHERE "eventId" = ?', payload, event_id)
    before = dump(database)
    done = run_replay(database)
    assert done.returncode == 3 and why in done.stdout, done.stdout + done.stderr
    assert dump(database) == before
    database.query('UPDATE livekit_call_events SET "rawPayload" = ? WHERE "eventId" = ?',
                   kept if isinstance(kept, str) else json.dumps(kept), event_id)


def set_aside(database: Database, event_id: str, room: bool) -> None:
    """As an older binary would have kept an event that it could not read."""
    body = database.query('SELECT "rawPayload" FROM livekit_call_events WHERE "eventId" = ?', event_id)[0][0]
    raw = (body if isinstance(body, str) else json.dumps(body)).encode()
    database.query('UPDATE livekit_call_events SET "rawPayload" = NULL, "rawBody" = ?, processed = 0, "errorMessage" = ?, "processedAt" = NULL'
                   + ("" if room else ', "roomSid" = NULL, "roomName" = NULL, "userId" = NULL, "callLogId" = NULL') + ' WHERE "eventId" = ?',
                   raw, "the body is nested too deeply", event_id)


@pytest.mark.parametrize("room", [True, False], ids=["of-a-room", "of-no-room"])
def test_an_event_that_can_be_read_by_now_counts(start_daemon, database: Database, run_replay, room):
    daemon = start_daemon(database=database)
    call = CallMaker()
    for event in call.answered():
        assert daemon.post_event(event).status == 200
    before, events = facts_row(database, call.sid), events_of(database, call.sid)
    set_aside(database, first_event(database, call.sid, "participant_left"), room)
    database.query("DELETE FROM call_facts")
    dry = dump(database)
    assert run_replay(database, "--dry-run").returncode == 0
    assert dump(database) == dry
    assert run_replay(database).returncode == 0
    assert facts_row(database, call.sid) | {"revision": 1} == before
    assert events_of(database, call.sid) == events
    after = dump(database)
    assert run_replay(database).returncode == 0
    assert dump(database) == after


def test_what_nobody_can_read_stays_aside(recorded: Daemon, run_replay):
    aside = 'SELECT "eventId", "errorMessage", "roomSid" FROM livekit_call_events WHERE processed = 0 ORDER BY "eventId"'
    before = recorded.database.query(aside)
    assert len(before) > 4
    run_replay(recorded.database)
    assert recorded.database.query(aside) == before


# ---- beside a daemon, and interrupted ----

def damage_all(database: Database) -> None:
    database.query("UPDATE call_facts SET facts = 'rubbish'")


def test_interrupted_it_leaves_whole_calls(whole: Daemon, run_replay, outcomed_binary):
    database = whole.database
    for number in (signal.SIGINT, signal.SIGKILL):
        damage_all(database)
        process = subprocess.Popen([outcomed_binary, "replay", "--database", database.url, "--default-user", HOUSE], env=environment(keys=False),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert "RM_" in process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        if number == signal.SIGINT:
            assert process.returncode == 1 and "interrupted" in out, out + err
        left = database.count("call_facts", "facts = 'rubbish'")
        assert 0 < left < database.count("call_facts")
        done = run_replay(database)
        assert done.returncode == 0 and f" {left} calls changed" in done.stdout, done.stdout


def test_while_a_daemon_is_under_load(start_daemon, database: Database, run_replay):
    daemon = start_daemon(database=database)
    calls = [CallMaker() for _ in range(120)]
    for call in calls[:60]:
        for event in call.answered():
            daemon.post_event(event)
    statuses: list[int] = []
    slowest = 0.0

    def post_the_rest() -> None:
        nonlocal slowest
        connection = daemon.connect()
        for call in calls[60:]:
            for event in call.answered():
                begun = time.monotonic()
                statuses.append(daemon.post_event(event, connection=connection).status)
                slowest = max(slowest, time.monotonic() - begun)
        connection.close()

    thread = threading.Thread(target=post_the_rest)
    thread.start()
    rounds = 0
    while thread.is_alive() or rounds == 0:
        damage_all(database)
        done = run_replay(database)
        assert done.returncode == 0, done.stdout + done.stderr
        rounds += 1
    thread.join()
    run_replay(database)
    assert set(statuses) == {200}
    assert slowest < 3
    after = dump(database)
    assert run_replay(database).returncode == 0 and dump(database) == after
    for call in calls:
        assert daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"


def test_a_connection_that_is_cut_is_made_again(start_daemon, new_database, run_replay, outcomed_binary):
    database = new_database("postgres")
    daemon = start_daemon(database=database)
    calls = [CallMaker() for _ in range(60)]
    for call in calls:
        for event in call.unanswered():
            assert daemon.post_event(event).status == 200
    before = facts_rows(database)
    damage_all(database)
    process = subprocess.Popen([outcomed_binary, "replay", "--database", database.url], env=environment(keys=False), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert "RM_" in process.stdout.readline()
    cut = database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'outcomed replay' AND datname = current_database()")
    out, err = process.communicate(timeout=60)
    assert (len(cut), process.returncode) == (1, 0), out + err
    assert facts_rows(database) == before


def test_on_a_terminal_a_bar_is_drawn(recorded: Daemon, outcomed_binary):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(outcomed_binary, ["outcomed", "replay", "--database", recorded.database.url, "--default-user", HOUSE], environment(keys=False))
    drawn = b""
    with contextlib.suppress(OSError):  # the other end is gone
        while chunk := os.read(terminal, 4096):
            drawn += chunk
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, drawn
    assert re.search(rb"\[#{30}\] 100 %  \d+ calls, \d+ events, 0 changed", drawn), drawn


# ---- what it is asked ----

@pytest.mark.parametrize("arguments, says", [
    (("--rules", "99"), "does not have version 99"),
    (("--rules", "0"), "--rules=0"),
    (("--since", "yesterday"), "expected a time"),
    (("--since", "1970-01-01T00:00:00Z"), "expected a time"),
    (("--since", "7d", "--call", "RM_1"), "do not go together"),
    (("--call=",), "--call"),
    (("--call", "RM_nowhere"), "there is no call RM_nowhere"),
    (("--routes", "/nonexistent"), "cannot be opened"),
    (("word",), "expected: outcomed replay"),
])
def test_wrong_usage(recorded: Daemon, run_replay, arguments, says):
    done = run_replay(recorded.database, *arguments)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_a_database_that_is_not_there(run_replay, tmp_path):
    done = run_replay(Database("sqlite", f"sqlite:{tmp_path}/none.db"))
    assert done.returncode == 1 and "migrate upgrade" in done.stderr
    done = run_replay(Database("postgres", "postgresql://127.0.0.1:1/none"))
    assert done.returncode in (1, 2) and done.stderr


def test_only_so_many_calls_are_shown(whole: Daemon, run_replay):
    damage_all(whole.database)
    done = run_replay(whole.database, "--show", "3", "--dry-run")
    lines = done.stdout.splitlines()
    assert sum(line.startswith("RM_") for line in lines) == 3
    assert re.search(r"… and \d+ more that would change", done.stdout)
    assert run_replay(whole.database).returncode == 0
