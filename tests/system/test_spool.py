"""The spool through the whole daemon: what the database cannot take is answered, kept over any death, and drained to what an undisturbed run gives."""

import contextlib
import json
import pathlib
import re
import sqlite3
import subprocess
import threading
import time

import pytest

from support.captures import all_captures
from support.daemon import Daemon, Database, environment
from support.events import CallMaker
from support.proxy import Proxy
from support.sender import Sender

pytestmark = pytest.mark.integration

KEPT = "Event kept on disk until the database can take it"


class Outage:
    """A database that can be taken away: PostgreSQL behind a proxy that cuts, a SQLite file that somebody locks. `direct` is asked by the test."""

    def __init__(self, direct: Database, stack: contextlib.ExitStack) -> None:
        self.direct, self.through, self._lock, self._proxy = direct, direct, None, None
        if direct.kind == "postgres":
            self._proxy, url = Proxy.before(direct.url)
            stack.callback(self._proxy.close)
            self.through = Database("postgres", url)
        stack.callback(self.end)

    def begin(self) -> None:
        if self._proxy:
            self._proxy.cut()
            return
        self._lock = sqlite3.connect(self.direct.url.removeprefix("sqlite:"), isolation_level=None, timeout=20)
        self._lock.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        if self._proxy:
            self._proxy.mend()
        elif self._lock:
            self._lock.rollback()
            self._lock.close()
            self._lock = None


@pytest.fixture
def outage(database: Database):
    with contextlib.ExitStack() as stack:
        yield Outage(database, stack)


def ready(daemon: Daemon) -> dict:
    return daemon.get("/readyz").json()


def wait_drained(daemon: Daemon, timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while (now := ready(daemon)) != {"status": "ready"}:
        assert time.monotonic() < deadline, f"{now}\n{daemon.log()[-3000:]}"
        time.sleep(0.05)


def spool_of(daemon: Daemon) -> pathlib.Path:
    return daemon.folder / "outcomed.spool"


def files(daemon: Daemon, pattern: str = "*.spool") -> list[pathlib.Path]:
    return sorted(spool_of(daemon).glob(pattern))


def run(daemon: Daemon, *words: str) -> subprocess.CompletedProcess:
    command = [daemon.binary, *words, "--spool", spool_of(daemon)]
    return subprocess.run(command, cwd=daemon.folder, env=daemon.env, capture_output=True, text=True, timeout=60, check=False)


# ---- an outage ----

def test_an_outage_costs_nothing_and_is_told(start_daemon, outage):
    daemon = start_daemon(database=outage.through)
    before, during = CallMaker(), CallMaker()
    events = before.answered()
    for event in events[:3]:
        assert daemon.post_event(event).json()["message"] == "Event processed"
    outage.begin()
    for event in events[3:] + during.answered():
        began = time.monotonic()
        reply = daemon.post_event(event)
        assert (reply.status, reply.json()) == (200, {"status": "processed", "event_id": event["id"], "message": KEPT})
        assert time.monotonic() - began < 2
    said = daemon.get("/readyz")
    assert (said.status, said.json()["status"]) == (200, "degraded")
    assert "store" in said.json()["missing"]
    assert (said.json()["spool"]["events"], said.json()["spool"]["bytes"] > 0) == (17, True)
    metrics = daemon.metrics()
    assert metrics["outcomed_spool_events"] == metrics["outcomed_spool_appended_total"] == 17
    assert metrics['outcomed_event_results_total{result="spooled"}'] == 17
    assert metrics["outcomed_spool_bytes"] == sum(f.stat().st_size for f in files(daemon))
    if outage.direct.kind == "postgres":
        reply = daemon.outcome(before.sid, before.tenant)
        assert (reply.status, reply.headers["retry-after"]) == (503, "7")
    outage.end()
    wait_drained(daemon)
    assert outage.direct.count("livekit_call_events") == 20
    for call in (before, during):
        assert daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"
    assert outage.direct.query("SELECT revision, count(*) FROM call_facts GROUP BY revision") == [(1, 2)]
    assert files(daemon) == []
    assert daemon.metrics()["outcomed_spool_drained_total"] == 17
    log = daemon.log()
    assert len(re.findall("msg=spool_begun ", log)) == 1
    assert re.search(r"msg=spool_drained events=17 already_processed=\d+ ms=", log)
    assert daemon.post_event(events[0]).json()["message"] == "Event already processed (idempotency)"


@pytest.mark.idempotency
def test_the_same_event_again_and_again_counts_once(start_daemon, outage):
    daemon = start_daemon(database=outage.through)
    events = CallMaker().answered()
    assert daemon.post_event(events[0]).status == 200
    outage.begin()
    for _ in range(3):
        for event in events:
            assert daemon.post_event(event).json()["message"] == KEPT
    outage.end()
    wait_drained(daemon)
    assert outage.direct.count("livekit_call_events") == 10


def test_marks_wait_too_unless_their_call_must_be_looked_up(start_daemon, outage):
    def post(mark: dict):
        return daemon.request("POST", f"/api/marks?user_id={call.tenant}", json.dumps(mark).encode())

    daemon = start_daemon(database=outage.through)
    call = CallMaker()
    for event in call.answered():
        assert daemon.post_event(event).status == 200
    call_id = daemon.wait_outcome(call.sid, call.tenant)["id"]
    if outage.direct.kind == "sqlite":  # its readers do not mind a lock
        return
    outage.begin()
    reply = post({"roomSid": call.sid, "kind": "machine", "value": "beep", "source": "agent"})
    assert (reply.status, reply.json()["message"]) == (200, KEPT)
    looked_up = post({"callId": call_id, "kind": "note", "value": "x"})
    assert (looked_up.status, looked_up.headers["retry-after"]) == (503, "7")
    outage.end()
    wait_drained(daemon)
    row, = outage.direct.query("SELECT \"userId\", processed FROM livekit_call_events WHERE event = 'mark'")
    assert row == (call.tenant, 1)


# ---- at the start ----

def test_a_database_that_is_away_at_the_start(start_daemon, outage):
    start_daemon(database=outage.direct).stop()  # makes the schema
    outage.begin()
    daemon = start_daemon(database=outage.through, wait_ready=False)
    call = CallMaker()
    for event in call.answered():
        assert daemon.post_event(event).json()["message"] == KEPT
    assert ready(daemon)["status"] == "degraded"
    outage.end()
    wait_drained(daemon)
    assert daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"


def test_a_schema_that_does_not_fit_is_said_at_the_start(start_daemon, new_database):
    database = new_database("sqlite")
    start_daemon(database=database).stop()
    database.query("INSERT INTO outcomed_migrations (version, name, sha256, \"appliedAt\") VALUES (9999, 'later', '', '')")
    with pytest.raises(AssertionError, match="newer"):
        start_daemon(database=database)


def test_one_spool_is_one_daemons(start_daemon, new_database, tmp_path):
    env = {"OUTCOMED_SPOOL": str(tmp_path / "shared.spool")}
    start_daemon(database=new_database("sqlite"), env=env)
    with pytest.raises(AssertionError, match=r"is in use by another outcomed, process \d+: each needs its own"):
        start_daemon(database=new_database("sqlite"), env=env)


# ---- deaths ----

@pytest.mark.idempotency
def test_killed_while_it_spools_and_while_it_drains(start_daemon, outage, say):
    daemon = start_daemon(database=outage.through)
    acknowledged: set[str] = set()
    lock, stop = threading.Lock(), threading.Event()

    def post() -> None:
        while not stop.is_set():
            for event in CallMaker().answered():
                try:
                    reply = daemon.post_event(event)
                except OSError:
                    time.sleep(0.02)
                    continue
                assert reply.status == 200
                with lock:
                    acknowledged.add(event["id"])

    def wait_more(count: int) -> None:
        deadline, enough = time.monotonic() + 30, len(acknowledged) + count
        while len(acknowledged) < enough:
            assert time.monotonic() < deadline, daemon.log()[-3000:]
            time.sleep(0.01)

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        outage.begin()
        for _ in range(3):
            wait_more(60)
            daemon.kill()
            daemon.start(wait_ready=False)
        wait_more(60)
        outage.end()
        for _ in range(3):
            time.sleep(0.4)  # some of it is drained by then
            daemon.kill()
            daemon.start(wait_ready=False)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    wait_drained(daemon)
    missing = acknowledged - outage.direct.event_ids()
    assert missing == set(), f"{len(missing)} of {len(acknowledged)}\n{daemon.log()[-3000:]}"
    assert outage.direct.query('SELECT "eventId" FROM livekit_call_events GROUP BY "eventId" HAVING count(*) > 1') == []
    assert files(daemon, "*.damaged") == []
    say(f"spool ({outage.direct.kind}): 3 kill -9 while spooling, 3 while draining: {len(acknowledged)} acknowledged, missing 0, stored twice 0")


# ---- the same as if nothing had been ----

def shown(database: Database) -> dict[str, tuple]:
    """What is known of every call, but for when it was written."""
    rows = database.query('SELECT "roomSid", "roomName", "userId", "tenantError", facts, rules, verdict, outcome, revision, "startedAtMs", "endedAtMs"'
                          ' FROM call_facts')
    events = database.query('SELECT "roomSid", count(*), sum(processed) FROM livekit_call_events GROUP BY "roomSid"')
    by_room = {e[0]: tuple(map(int, e[1:])) for e in events}
    return {r[0]: (*map(str, r[1:]), by_room.get(r[0])) for r in rows}


def post_captures(daemon: Daemon) -> None:
    connection = daemon.connect()
    for capture in all_captures():
        for delivery in capture.deliveries:
            assert daemon.post(delivery.body, connection=connection).status == 200
    connection.close()


def wait_ended(daemon: Daemon, database: Database) -> None:
    deadline = time.monotonic() + 40
    while database.count("call_facts", 'outcome IS NULL AND "dueAtMs" < ?', int(time.time() * 1000) + 20_000):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("store", ["sqlite"])  # of PostgreSQL: tests/faults/test_postgres_outages.py
def test_all_recorded_calls_come_out_as_in_an_undisturbed_run(start_daemon, outage, new_database, store):
    undisturbed = start_daemon(database=new_database(store), env={"OUTCOMED_COMMIT_DEADLINE": "20000"})
    post_captures(undisturbed)
    wait_ended(undisturbed, undisturbed.database)
    daemon = start_daemon(database=outage.through)
    outage.begin()
    post_captures(daemon)
    assert ready(daemon)["spool"]["events"] > 500
    outage.end()
    wait_drained(daemon, 120)
    wait_ended(daemon, outage.direct)
    expected, got = shown(undisturbed.database), shown(outage.direct)
    assert len(expected) > 60
    assert {sid: (got.get(sid), row) for sid, row in expected.items() if got.get(sid) != row} == {}
    assert got.keys() == expected.keys()


# ---- limits and damage ----

def test_a_full_spool_says_503_and_takes_again(start_daemon, outage):
    daemon = start_daemon("--spool-limit", "1MiB", database=outage.through)
    outage.begin()
    maker, taken = CallMaker(), []
    for _ in range(20):
        event = maker.event("room_started", 0, note="x" * 50_000)
        reply = daemon.post_event(event)
        if reply.status != 200:
            break
        taken.append(event["id"])
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")
    assert 8 <= len(taken) <= 10
    said = daemon.get("/readyz")
    assert (said.status, said.json()["status"], {"store", "spool"} <= set(said.json()["missing"])) == (503, "unavailable", True)
    assert "msg=spool_failed" in daemon.log() and "--spool-limit" in daemon.log()
    outage.end()
    wait_drained(daemon)
    assert set(taken) <= outage.direct.event_ids()
    assert daemon.post_event(maker.event("room_finished", 9)).json()["message"] == "Event processed"


def test_a_damaged_file_is_said_drained_and_kept(start_daemon, new_database):
    """A bit that changed costs nothing; it is told which file and where, and what to do."""
    database = new_database("sqlite")
    daemon = start_daemon(database=database)
    lock = sqlite3.connect(database.url.removeprefix("sqlite:"), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    events = CallMaker().answered()
    for event in events:
        assert daemon.post_event(event).json()["message"] == KEPT
    daemon.kill()
    lock.close()
    listed = run(daemon, "spool")
    assert listed.returncode == 0 and "10 events wait" in listed.stdout and "no process has it open" in listed.stdout, listed.stdout
    said = run(daemon, "check", "--database", database.url, "--listen", "127.0.0.1:1")
    assert "FAIL  spool " in said.stdout and "no daemon has it open" in said.stdout
    file = max(files(daemon), key=lambda f: f.stat().st_size)
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 0x10
    file.write_bytes(damaged)
    listed = run(daemon, "spool")
    assert listed.returncode == 1 and "events lost 0" in listed.stdout, listed.stdout
    daemon.start()
    wait_drained(daemon)
    assert {e["id"] for e in events} == database.event_ids()
    assert re.search(rf"level=error msg=spool_damaged file={file.name} offset=\d+ bytes=\d+ stretches=1 lost=0 events=\d+ ", daemon.log())
    kept, = files(daemon, "*.damaged")
    assert kept.name == file.name + ".damaged"
    assert daemon.metrics()["outcomed_spool_damaged_total"] == daemon.metrics()["outcomed_spool_files_aside"] == 1
    said = run(daemon, "check", "--database", database.url, "--listen", "127.0.0.1:1")
    assert said.returncode == 1 and kept.name in said.stdout and "see to the disk" in said.stdout
    kept.unlink()


def test_without_a_spool_and_with_a_directory_that_cannot_be_one(start_daemon, new_database, tmp_path):
    daemon = start_daemon("--spool", "none", database=new_database("sqlite"))
    assert not spool_of(daemon).exists()
    assert "outcomed_spool_events 0" in daemon.get("/metrics").body.decode()
    (tmp_path / "file").write_text("")
    with pytest.raises(AssertionError, match="the spool directory .*file cannot be"):
        start_daemon("--spool", str(tmp_path / "file"), database=new_database("sqlite"))


def test_no_secret_and_nobody_else_gets_into_it(start_daemon, new_database):
    database = new_database("sqlite")
    daemon = start_daemon(database=database)
    with sqlite3.connect(database.url.removeprefix("sqlite:"), isolation_level=None) as lock:
        lock.execute("BEGIN IMMEDIATE")
        call = CallMaker()
        assert "turn-secret" in json.dumps(call.event("room_started", 0))
        assert daemon.post_event(call.event("room_started", 0)).json()["message"] == KEPT
        assert daemon.post(b'{"event":"room_started","turnPassword":"turn-secret-raw",').json()["message"] == KEPT
        kept = b"".join(file.read_bytes() for file in files(daemon))
        assert b"turn-secret" not in kept and call.sid.encode() in kept and b"******" in kept
        assert {spool_of(daemon).stat().st_mode & 0o777} | {file.stat().st_mode & 0o777 for file in files(daemon)} == {0o700, 0o600}
        lock.execute("ROLLBACK")
    lock.close()
    wait_drained(daemon)


@pytest.mark.parametrize("store", ["sqlite"])
def test_steady_traffic_over_several_outages(start_daemon, outage, say):
    daemon = start_daemon(database=outage.through)
    sender = Sender(daemon.port, 80)
    try:
        for _ in range(3):
            time.sleep(0.5)
            outage.begin()
            time.sleep(0.7)
            outage.end()
        time.sleep(0.5)
    finally:
        sender.finish()
    wait_drained(daemon)
    assert set(sender.statuses()) == {200}, f"{sender}"
    assert sender.slowest_s() < 2, f"{sender}"
    assert set(sender.ledger.acknowledged) <= outage.direct.event_ids()
    say(f"three outages ({outage.direct.kind}): {sender}")
