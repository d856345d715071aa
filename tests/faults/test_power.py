"""The power fails: what was acknowledged by then is on the disk, also where a sync failed before, a process died before it, or a file was new.
The disk is a model of the worst that POSIX allows (support/disk.py)."""

import contextlib
import errno
import itertools
import pathlib
import shutil
import sqlite3
import tempfile
import time

import pytest

from support import disk, inject, torture

pytestmark = pytest.mark.integration

EIO_AT_SYNC = inject.Fault("sync", errno.EIO)


class Bench:
    """A daemon on files of its own, whose every step is recorded."""

    def __init__(self, binary: pathlib.Path, library: pathlib.Path, folder: pathlib.Path) -> None:
        self.data, self.spool = folder / "data", "none"
        self.data.mkdir()
        self.url = f"sqlite:{self.data}/outcomed.db"
        self.injector = inject.Injector(library, folder / "control", self.data)
        self.lives = torture.Lives(binary, folder, self.injector.environment(record=True))
        self.disk = disk.Disk(self.data)
        self._numbers = itertools.count(1)

    def begin(self) -> None:
        self.lives.begin(self.url, "--spool", self.spool)
        self.lives.wait_ready()

    def send_call(self, pattern: torture.Pattern = torture.PATTERNS[0]) -> list[int | None]:
        """One call; the statuses of its events' answers."""
        connection = torture.Connection(self.lives.socket)
        answers = [connection.ask(request) for _, request in pattern.make(next(self._numbers)).requests]
        connection.close()
        return [a[0] if a else None for a in answers]

    def judge(self, every: int = 1) -> int:
        """At each acknowledgement, or every so many: is what was acknowledged on the disk? Gives their number."""
        count = 0
        for operation in disk.read_record(self.injector.record_path):
            if self.disk.play(operation) is not None:
                count += 1
                if count % every == 0:
                    self.check()
        self.check()
        return count

    def check(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            self.disk.image(self.data, pathlib.Path(name))
            spooled = b"".join(path.read_bytes() for path in pathlib.Path(name).glob("spool/*.spool"))
            kept = self._in_database(pathlib.Path(name) / "outcomed.db")
        assert {i for i in self.disk.acknowledged - kept if i.encode() not in spooled} == set()

    def _in_database(self, path: pathlib.Path) -> set[str]:
        if not path.exists():
            return set()
        connection = sqlite3.connect(path)
        try:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'livekit_call_events'").fetchall()
            return {row[0] for row in connection.execute('SELECT "eventId" FROM livekit_call_events')} if tables else set()
        finally:
            connection.close()

    def close(self) -> None:
        process = self.lives.process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        self.injector.close()


@pytest.fixture
def bench(outcomed_binary, build_folder, tmp_path):
    made = Bench(outcomed_binary, build_folder / "tests/faults/inject.so", tmp_path)
    yield made
    made.close()


def test_what_is_acknowledged_is_on_the_disk(bench):
    """From the file's creation on."""
    bench.begin()
    for pattern in torture.PATTERNS:
        assert set(bench.send_call(pattern)) == {200}
    bench.lives.end()
    assert bench.judge() == 19


@contextlib.contextmanager
def looked_at(bench, really: bool):
    """Somebody else opens the database after the daemon's death, has SQLite put the log in order, and stays: no closing writes it back then."""
    connection = sqlite3.connect(bench.data / "outcomed.db") if really else None
    try:
        if connection:
            connection.execute("SELECT count(*) FROM livekit_call_events").fetchall()
        yield
    finally:
        if connection:
            connection.close()


@pytest.mark.parametrize("by_others", [False, True])
def test_a_process_that_dies_before_its_sync_does_not_make_the_next_one_lie(bench, by_others):
    """What it had written is there for who reads the file, and a duplicate needs no transaction: but it is on no disk yet."""
    bench.begin()
    assert set(bench.send_call()) == {200}
    call = torture.PATTERNS[0].make(999)
    connection = torture.Connection(bench.lives.socket)
    bench.injector.arm(inject.Fault("sync", mode="kill"), 1)
    assert connection.ask(call.requests[0][1]) is None
    bench.lives.process.wait(10)
    bench.injector.disarm()
    with looked_at(bench, by_others):
        bench.begin()
        for _, request in call.requests:
            assert connection.ask(request)[0] == 200
        connection.close()
        bench.lives.kill()
        assert bench.judge() == 12


# SQLite's syncs after the start: the new log's header, its directory, the first batch, the second, …
@pytest.mark.parametrize(("n", "taken"), [(1, 0), (3, 0), (4, 1), (6, 3)])
def test_after_a_failed_sync_nothing_is_acknowledged_from_that_file(bench, n, taken):
    bench.begin()
    bench.injector.arm(EIO_AT_SYNC, n)
    answers = [status for _ in range(2) for status in bench.send_call()]
    assert bench.injector.hits == 1
    assert answers == [200] * taken + [503] * (12 - taken)
    time.sleep(1.2)  # a probe, if there were one, would have come
    assert set(bench.send_call()) == {503}
    assert "store_ended" in bench.lives.log()
    assert bench.lives.get("/readyz")[0] == 503
    bench.lives.kill()
    assert bench.judge() == taken


def test_the_name_of_a_new_log_does_not_depend_on_a_sync_that_sqlite_lets_fail(bench):
    """It syncs the directory with the first batch and does not look what came of it; so we have done it before."""
    bench.begin()
    bench.injector.arm(EIO_AT_SYNC, 2)
    assert set(bench.send_call()) == {200}
    assert bench.injector.hits == 1
    bench.lives.kill()
    assert bench.judge() == 6


@pytest.mark.parametrize("by_others", [False, True])
def test_a_restart_after_a_failed_sync_trusts_nothing_that_it_reads(bench, by_others):
    """The failed batch is in the log for who reads it, whole and with its checksum, and not on the disk. What is written behind it would be
    lost with it."""
    bench.begin()
    assert set(bench.send_call()) == {200}
    bench.injector.arm(EIO_AT_SYNC, 1)
    assert set(bench.send_call()) == {503}
    bench.lives.kill()
    bench.injector.disarm()
    with looked_at(bench, by_others):
        bench.begin()
        assert set(bench.send_call()) == {200}
        bench.lives.kill()
        bench.judge()


# ---- the spool ----

NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def spool_bench(bench):
    bench.spool = str(bench.data / "spool")
    return bench


def test_what_the_spool_has_acknowledged_is_on_the_disk(spool_bench, outcomed_binary, new_database, tmp_path):
    """And can be read there: a daemon that finds nothing but what was sure brings it all to the database."""
    bench = spool_bench
    bench.url = NO_DATABASE
    bench.begin()
    for pattern in torture.PATTERNS[:3]:
        assert set(bench.send_call(pattern)) == {200}
    bench.lives.kill()
    assert bench.judge() == 14
    after, database = tmp_path / "after", new_database("postgres")
    after.mkdir()
    bench.disk.image(bench.data, after)
    lives = torture.Lives(outcomed_binary, tmp_path)
    lives.begin(database.url, "--migrate", "--spool", str(after / "spool"))
    lives.wait_ready()
    lives.wait_drained()
    lives.end()
    assert database.event_ids() == bench.disk.acknowledged


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_file_of_the_spool_whose_sync_failed_takes_nothing_more(spool_bench, n):
    bench = spool_bench
    bench.url = NO_DATABASE
    bench.begin()
    bench.injector.arm(EIO_AT_SYNC, n)
    answers = bench.send_call() + bench.send_call()
    assert bench.injector.hits == 1
    assert 503 in answers and set(answers) <= {200, 503}
    time.sleep(1.2)  # the spool's pause
    assert set(bench.send_call()) == {200}
    bench.lives.kill()
    assert bench.judge() == answers.count(200) + 6


@pytest.mark.parametrize("n", [1, 3, 4])
def test_where_the_database_has_ended_the_spool_takes_over_until_the_restart(spool_bench, n):
    bench = spool_bench
    bench.begin()
    bench.injector.arm(EIO_AT_SYNC, n)
    answers = bench.send_call() + bench.send_call()
    assert bench.injector.hits == 1
    assert set(answers) == {200}
    time.sleep(1.2)  # nothing is drained into a database that has ended
    assert b'"degraded"' in bench.lives.get("/readyz")[1]
    bench.lives.kill()
    bench.begin()
    bench.lives.wait_drained()
    assert set(bench.send_call()) == {200}
    bench.lives.kill()
    assert bench.judge() == 18


def test_the_judge_sees_an_answer_that_did_not_wait(bench):
    """The same record with one sync after the answer that it was for: that must not pass."""
    bench.begin()
    assert set(bench.send_call()) == {200}
    bench.lives.kill()
    operations = disk.read_record(bench.injector.record_path)
    sends = [i for i, o in enumerate(operations) if o.kind == "send" and b'"event_id"' in o.data]
    last = max(i for i in range(sends[2]) if operations[i].kind == "synced")
    operations.insert(sends[2], operations.pop(last))
    with pytest.raises(AssertionError, match="EV_"):
        for operation in operations:
            if bench.disk.play(operation):
                bench.check()
