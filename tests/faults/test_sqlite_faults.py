"""SQLite's file locked, full, moved, deleted, replaced, damaged, its log starved, under the feet of a running daemon: webhooks are taken all the
same, nothing is written where nobody would find it again, and all of it is in the database once that can be used."""

import concurrent.futures
import pathlib
import re
import sqlite3
import subprocess
import time

import pytest

from support.daemon import Daemon, Database
from support.events import CallMaker
from support.full_disk import NoMount, fill, limit_file_size, small_disk

pytestmark = pytest.mark.integration

WITHIN_S = 2.0


class Bench:
    """A daemon on a SQLite file, and a call of which some events came before the fault."""

    def __init__(self, daemon: Daemon, database: Database) -> None:
        self.daemon, self.database = daemon, database
        self.path = pathlib.Path(database.url.removeprefix("sqlite:"))
        self.calls = [CallMaker() for _ in range(3)]
        self.before = [e for call in self.calls for e in call.answered()]
        self.events = self.before[3:]
        self.sent = {e["id"] for e in self.before[:3]}
        self.post(self.before[:3])

    def post(self, events: list[dict]) -> None:
        """All at once; each must be taken, in time."""
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(self.daemon.post_event, events))
        assert {r.status for r in replies} == {200}, self.daemon.log()[-3000:]
        assert time.monotonic() - began < WITHIN_S * (1 + len(events) // 8)
        self.sent |= {e["id"] for e in events}

    def beside(self, suffix: str) -> pathlib.Path:
        return self.path.with_name(self.path.name + suffix)

    def stored(self, path: pathlib.Path | None = None) -> set[str]:
        return Database("sqlite", f"sqlite:{path or self.path}").event_ids()

    def all_there(self, wait_for) -> None:
        wait_for(f"every event in the database:\n{self.daemon.log()[-3000:]}", lambda: self.sent <= self.stored(), 30)
        for call in self.calls:
            assert self.daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"
        assert self.database.query("PRAGMA integrity_check") == [("ok",)]
        assert {i for i in self.stored() - self.sent if not i.startswith("EV_outcomed_check")} == set()
        assert self.database.query('SELECT max(n) FROM (SELECT count(*) AS n FROM livekit_call_events NOT INDEXED GROUP BY "eventId")') == [(1,)]


@pytest.fixture
def bench(start_daemon, new_database):
    """bench(path=None, **options): a Bench; the spool lies beside the daemon's log, not beside the database."""

    def make(path: pathlib.Path | None = None) -> Bench:
        database = Database("sqlite", f"sqlite:{path}") if path else new_database("sqlite")
        return Bench(start_daemon(database=database), database)

    return make


# ---- locked ----

def test_locked_by_another_process(bench, wait_for):
    b = bench()
    other = sqlite3.connect(b.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    b.post(b.events[:10])
    time.sleep(1)
    b.post(b.events[10:15])
    other.execute("COMMIT")
    other.close()
    b.post(b.events[15:])
    b.all_there(wait_for)


def test_locked_when_it_starts(start_daemon, new_database, wait_for):
    database = new_database("sqlite")
    first = start_daemon(database=database)
    first.stop()
    other = sqlite3.connect(database.url.removeprefix("sqlite:"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    daemon = start_daemon(database=database, wait_ready=False)
    events = CallMaker().answered()
    assert daemon.post_event(events[0]).status == 200
    other.execute("COMMIT")
    other.close()
    for event in events[1:]:
        assert daemon.post_event(event).status == 200
    wait_for("the events in the database", lambda: database.count("livekit_call_events") == 10)


# ---- full ----

def test_its_disk_is_full(bench, tmp_path, wait_for):
    try:
        with small_disk(tmp_path / "small", 4 * 1024) as folder:
            b = bench(folder / "outcomed.db")
            filler = fill(folder)
            b.post(b.events[:20])
            kept = b.stored()
            assert len(kept) < len(b.sent)
            filler.unlink()
            b.post(b.events[20:])
            b.all_there(wait_for)
            b.daemon.stop()
    except NoMount as why:
        pytest.skip(f"no file system can be mounted here: {why}")


def test_no_file_may_grow(bench, wait_for):
    """As a quota or `ulimit -f` has it: EFBIG, and a signal that would end the process."""
    b = bench()
    limit_file_size(b.daemon.process.pid, 12 * 1024)
    b.post(b.events[:4])
    assert len(b.stored()) < len(b.sent)
    limit_file_size(b.daemon.process.pid, None)
    b.post(b.events[4:])
    b.all_there(wait_for)


def test_a_read_only_file_system(start_daemon, new_database, tmp_path, wait_for):
    """It was remounted so after an error, as ext4 does, and the service was started again."""
    try:
        with small_disk(tmp_path / "disk", 8 * 1024) as folder:
            database = Database("sqlite", f"sqlite:{folder}/outcomed.db")
            first = start_daemon(database=database)
            events = CallMaker().answered()
            assert first.post_event(events[0]).status == 200
            first.stop()
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            daemon = start_daemon(database=database, wait_ready=False)
            for event in events[1:5]:
                assert daemon.post_event(event).status == 200
            subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
            for event in events[5:]:
                assert daemon.post_event(event).status == 200
            wait_for("the events in the database", lambda: database.count("livekit_call_events") == 10)
            daemon.stop()
    except NoMount as why:
        pytest.skip(f"no file system can be mounted here: {why}")


# ---- other files than those it has open ----

def test_moved_away_and_put_back(bench, wait_for):
    b = bench()
    away = b.path.with_suffix(".away")
    b.path.rename(away)
    b.post(b.events[:10])
    b.daemon.wait_log("moved or deleted")
    assert not b.path.exists(), "a new one was begun in its place"
    away.rename(b.path)
    b.post(b.events[10:])
    b.all_there(wait_for)


def test_deleted_with_all_that_belongs_to_it(bench, wait_for):
    """What was in it is gone, by somebody's hand; what came afterwards is not."""
    b = bench()
    for suffix in ("", "-wal", "-shm"):
        b.beside(suffix).unlink()
    b.post(b.events)
    b.daemon.wait_log("moved or deleted")
    b.daemon.stop()
    b.daemon.start()
    wait_for("what came afterwards", lambda: {e["id"] for e in b.events} == b.stored(), 30)
    assert b.database.query("PRAGMA integrity_check") == [("ok",)]


def test_replaced_by_a_backup(bench, wait_for):
    """The old log is not replayed into the new file, and what came after the change is in it once the daemon was started again."""
    b = bench()
    backup = b.path.with_suffix(".backup")
    copy = sqlite3.connect(backup)
    with sqlite3.connect(b.path) as source:
        source.backup(copy)
    copy.close()
    b.post(b.events[:10])
    backup.rename(b.path)
    b.post(b.events[10:])
    b.daemon.wait_log("replaced by another")
    b.daemon.stop()
    b.daemon.start()
    later = {e["id"] for e in b.events[10:]}
    wait_for("what came after the change", lambda: later <= b.stored(), 30)
    assert b.database.query("PRAGMA integrity_check") == [("ok",)]
    assert b.stored() <= b.sent


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_file_beside_it_deleted(bench, suffix, wait_for):
    b = bench()
    b.post(b.events[:10])
    b.beside(suffix).unlink()
    b.post(b.events[10:20])
    b.daemon.wait_log("was deleted or replaced")
    b.daemon.stop()
    b.daemon.start()
    b.post(b.events[20:])
    b.all_there(wait_for)


def test_a_deleted_log_costs_nothing_even_when_killed_afterwards(bench, wait_for):
    """What was in it is saved at the next event, not only when the process ends in peace."""
    b = bench()
    b.post(b.events[:10])
    b.beside("-wal").unlink()
    b.post(b.events[10:11])
    b.daemon.wait_log("was deleted or replaced")
    b.daemon.kill()
    b.daemon.start()
    b.post(b.events[11:])
    b.all_there(wait_for)


# ---- damaged ----

def damage(path: pathlib.Path, name: str) -> None:
    """Overwrites the root page of a table or an index."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    with path.open("r+b") as f:
        f.seek((root - 1) * size)
        f.write(b"\xa5" * size)


def check(daemon: Daemon) -> subprocess.CompletedProcess:
    command = [daemon.binary, "check", "--listen", f"127.0.0.1:{daemon.port}", "--database", daemon.database.url]
    return subprocess.run(command, cwd=daemon.folder, env=daemon.env, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", ["idx_lce_eventId", "livekit_call_events"])
def test_a_damaged_page(bench, name, wait_for):
    """Said, with the way back; taken into the spool meanwhile; all there after the way was gone."""
    b = bench()
    b.post(b.events[:10])
    b.daemon.stop()
    damage(b.path, name)
    b.daemon.start(wait_ready=False)
    b.post(b.events[10:])
    b.daemon.wait_log("malformed")
    said = check(b.daemon)
    assert said.returncode == 1
    line = next(line for line in said.stdout.splitlines() if "integrity" in line)
    assert line.startswith("FAIL"), said.stdout
    way_back = re.search(r"save what can be read: (.*) \(or take", line)[1]
    b.daemon.stop()
    subprocess.run(["sh", "-c", way_back], capture_output=True, check=True)
    for suffix in ("-wal", "-shm"):
        b.beside(suffix).unlink(missing_ok=True)
    b.beside(".new").rename(b.path)
    b.daemon.start()
    later = {e["id"] for e in b.events[10:]}
    wait_for("what came after the damage", lambda: later <= b.stored(), 30)
    assert b.database.query("PRAGMA integrity_check") == [("ok",)]
    if name == "idx_lce_eventId":
        b.all_there(wait_for)


# ---- a log that cannot be emptied ----

def test_a_reader_that_never_ends(bench, wait_for):
    """The log grows; nobody is kept waiting; it is emptied when the reader is gone."""
    b = bench()
    reader = sqlite3.connect(b.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM livekit_call_events").fetchone()
    big = [CallMaker().event("room_started", 0, note="x" * 100_000) for _ in range(20)]
    b.post(big)
    b.post(b.events)
    assert b.beside("-wal").stat().st_size > 2_000_000
    reader.close()
    b.all_there(wait_for)
    b.daemon.stop()
    assert not b.beside("-wal").exists()
