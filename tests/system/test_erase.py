"""outcomed erase: somebody is gone from every table and from the file, and nobody else is."""

import json
import pathlib
import subprocess
import time

import psycopg
import pytest

from support import signing
from support.daemon import Daemon, environment
from support.events import CallMaker

pytestmark = pytest.mark.integration

NUMBER = "+4930987650001"
DIGITS = NUMBER[1:]
OTHER = "+49309876500017"  # begins alike
OURS = ("livekit_call_events", "call_facts", "call_legs", "call_revisions")


@pytest.fixture
def erase(outcomed_binary, database, tmp_path):
    """erase(flag, …) on this test's database; gives what was printed."""

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run([outcomed_binary, "erase", "--database", database.url, *words], cwd=tmp_path, env=environment(), timeout=120,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == code, done
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return done.stdout

    return run


def found(database, text: str) -> dict[str, int]:
    """How often a text is in any column of each table."""
    counts = {}
    for table in (*OURS, "call_logs"):
        rows = database.query(f"SELECT * FROM {table}")
        counts[table] = sum(text in (value.decode(errors="replace") if isinstance(value, bytes | memoryview) else str(value))
                            for row in rows for value in row)
    return counts


def post(daemon: Daemon, events: list[dict]) -> None:
    for event in events:
        assert daemon.post_event(event).status == 200


def fill(daemon: Daemon) -> tuple[list[CallMaker], list[CallMaker]]:
    """Calls of the person, in every way in which one is theirs; calls of others."""
    theirs = [CallMaker(number=NUMBER), CallMaker(room_name=f"call-_{NUMBER}_x7"), CallMaker(tenant="user-2", number="00" + DIGITS), CallMaker()]
    others = [CallMaker(number=OTHER), CallMaker(tenant="user-2")]
    for call in theirs + others:
        post(daemon, call.answered())
    for call in theirs + others:
        daemon.wait_outcome(call.sid, call.tenant, 20)
    spaced = f"{NUMBER[:3]} {NUMBER[3:5]} {NUMBER[5:]}"
    mark = {"roomSid": theirs[3].sid, "kind": "note", "value": f"asked to be called at {spaced}"}
    reply = daemon.request("POST", "/api/marks?user_id=user-1", json.dumps(mark).encode(), {"Content-Type": "application/json"})
    assert reply.status == 200, reply
    stray = CallMaker().event("track_published", 0)
    stray["room"] = {"name": f"waits-for-{NUMBER}"}
    post(daemon, [stray])
    unreadable = f'{{"event": 5, "id": "EV_unreadable", "note": "{NUMBER}"'.encode()
    assert daemon.post(unreadable, signing.sign(unreadable)).status == 200
    return theirs, others


def bytes_of_files(database) -> bytes:
    path = pathlib.Path(database.url.removeprefix("sqlite:"))
    return b"".join(p.read_bytes() for p in path.parent.glob(path.name + "*"))


def test_a_number_is_gone_from_everywhere_and_nobody_else_is(daemon, database, erase):
    theirs, others = fill(daemon)
    before = {call.sid: daemon.outcome(call.sid, call.tenant).json() for call in others}
    assert sum(found(database, DIGITS).values()) > 40
    assert "calls that would go" in erase("--number", NUMBER, "--dry-run")
    assert sum(found(database, DIGITS).values()) > 40, "--dry-run only looks"
    shown = erase("--number", "0049 30 98765-0001", "--yes", code=3 if database.kind == "sqlite" else 0)
    assert "calls removed                                4\n" in shown
    for call in theirs:
        assert daemon.outcome(call.sid, call.tenant).status == 404
    assert {call.sid: daemon.outcome(call.sid, call.tenant).json() for call in others} == before
    left = {table: n - found(database, OTHER[1:])[table] for table, n in found(database, DIGITS).items()}
    assert set(left.values()) == {0}
    assert all(f"  {table} " in shown for table in (*OURS, "call_logs"))


def test_the_bytes_are_gone_from_the_file_and_its_log(start_daemon, new_database, outcomed_binary, tmp_path):
    database = new_database("sqlite")
    daemon = start_daemon(database=database)
    for _ in range(30):
        call = CallMaker(number=NUMBER)
        post(daemon, call.answered())
        post(daemon, CallMaker(number="+4930111222333").answered())
    daemon.wait_outcome(call.sid, call.tenant, 20)
    assert DIGITS.encode() in bytes_of_files(database)
    done = subprocess.run([outcomed_binary, "erase", "--database", database.url, "--number", NUMBER, "--yes"], cwd=tmp_path, env=environment(),
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "nothing of it is left in the file or its log" in done.stdout, done
    assert DIGITS.encode() not in bytes_of_files(database), "while the daemon runs"
    assert b"4930111222333" in bytes_of_files(database)
    post(daemon, CallMaker().answered())
    daemon.stop()
    assert DIGITS.encode() not in bytes_of_files(database)


def test_a_second_time_finds_nothing(daemon, database, erase):
    call = CallMaker(number=NUMBER)
    post(daemon, call.answered())
    daemon.wait_outcome(call.sid, call.tenant, 20)
    erase("--number", NUMBER, "--yes")
    shown = erase("--number", NUMBER, "--yes")
    assert "calls removed                                0\n" in shown


def test_an_open_call_goes_and_that_is_said(daemon, database, erase):
    call = CallMaker(number=NUMBER, started_s=int(time.time()))
    post(daemon, call.answered()[:5])
    assert "1 of them had not ended" in erase("--number", NUMBER, "--yes", code=3)
    assert set(found(database, DIGITS).values()) == {0}


def test_a_tenant_goes_with_its_marks_about_others_calls(daemon, database, erase):
    mine, other = CallMaker(tenant="tenant-gone"), CallMaker(tenant="tenant-stays")
    post(daemon, mine.answered() + other.answered())
    for call in (mine, other):
        daemon.wait_outcome(call.sid, call.tenant, 20)
    mark = {"roomName": other.name, "kind": "note", "value": "not yours"}
    daemon.request("POST", "/api/marks?user_id=tenant-gone", json.dumps(mark).encode(), {"Content-Type": "application/json"})
    before = daemon.outcome(other.sid, other.tenant).json()
    erase("--user", "tenant-gone", "--yes")
    assert set(found(database, "tenant-gone").values()) == {0}
    assert daemon.outcome(other.sid, other.tenant).json() == before
    assert daemon.outcome(mine.sid, mine.tenant).status == 404


def test_what_is_the_hosts_own_is_named_and_left(start_daemon, database, erase):
    database.query('CREATE TABLE call_logs (id TEXT PRIMARY KEY, "userId" TEXT, "livekitRoomName" TEXT, "phoneNumber" TEXT, notes TEXT)')
    daemon = start_daemon(database=database)
    call = CallMaker(number=NUMBER)
    database.query('INSERT INTO call_logs (id, "userId", "livekitRoomName", notes) VALUES (\'c-1\', ?, ?, ?)', call.tenant, call.name,
                   f"rang {NUMBER}")
    post(daemon, call.answered())
    daemon.wait_outcome("c-1", call.tenant, 20)
    assert database.query('SELECT "phoneNumber", outcome FROM call_logs') == [(NUMBER, "completed")]
    shown = erase("--number", NUMBER, "--yes", code=3)
    assert "call_logs.notes" in shown and "your own column" in shown
    assert database.query('SELECT id, "userId", "livekitRoomName", notes, "phoneNumber", outcome, "sipCallId" FROM call_logs') == [
        ("c-1", call.tenant, call.name, f"rang {NUMBER}", None, None, None)]
    assert {table: n for table, n in found(database, DIGITS).items() if n} == {"call_logs": 1}


@pytest.mark.parametrize("words", [(), ("--number", NUMBER), ("--number", "12", "--yes"), ("--user", "", "--yes"), ("--number", NUMBER, "--user", "x", "--yes"),
                                   ("--number", "+49 thirty", "--yes")])
def test_what_is_unclear_or_not_agreed_to_changes_nothing(outcomed_binary, tmp_path, words):
    done = subprocess.run([outcomed_binary, "erase", *words], cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 2 and done.stderr.startswith("outcomed"), done
    assert list(tmp_path.iterdir()) == []


def test_what_waits_in_the_spool_goes_too(outcomed_binary, start_daemon, new_database, tmp_path):
    """The database is away while events of the person and of somebody else come; erase finds the spool that a stopped daemon left."""
    database = new_database("postgres")
    spool = tmp_path / "spool"
    daemon = start_daemon("--spool", str(spool), database=database)
    name = database.url.rsplit("/", 1)[1]
    server = database.url.rsplit("/", 1)[0] + "/postgres"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        theirs, other = CallMaker(number=NUMBER), CallMaker(number="+4930111222333")
        post(daemon, theirs.answered() + other.answered())
        assert daemon.stop() == 0
        assert DIGITS.encode() in b"".join(p.read_bytes() for p in spool.iterdir())
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    done = subprocess.run([outcomed_binary, "erase", "--database", database.url, "--spool", spool, "--number", NUMBER, "--yes"], cwd=tmp_path, env=environment(),
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "events of the spool" in done.stdout, done
    assert DIGITS.encode() not in b"".join(p.read_bytes() for p in spool.iterdir())
    daemon.start()
    daemon.wait_outcome(other.sid, other.tenant, 20)
    deadline = time.monotonic() + 10
    while database.count("livekit_call_events", '"roomSid" = ?', other.sid) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert set(found(database, DIGITS).values()) == {0}
