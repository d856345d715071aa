"""The Nth call fails, for every N of a small run: of writes, syncs, renamings, truncations, openings, removals, reads, mappings, allocations and
calls on the connection to PostgreSQL. After each: no crash, no answer that hangs, no acknowledgement of what is not kept (also had the power
failed, support/disk.py), and a way on.

The normal run takes a sample of the Ns, FAULTS_EVERY=1 takes all of them (`make torture`)."""

import dataclasses
import errno
import itertools
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile
import time

import pytest

from support import disk, inject, torture
from support.daemon import SANITIZER_REPORT, Database, environment
from support.inject import Fault

pytestmark = pytest.mark.integration

EVERY = os.environ.get("FAULTS_EVERY") == "1"
SAMPLES = 2  # of each kind in a normal run
START_STRIDE = {"sqlite": 25, "postgres": 150}  # of the allocations from start to stop, nearly all of which are made before the first request
HANG_S = 12
WAY_ON_S = 20

FILE_FAULTS = [
    Fault("write", errno.EIO, "torn"), Fault("write", 0, "kill_torn"), Fault("sync", errno.EIO), Fault("sync", 0, "kill"), Fault("open", errno.EMFILE),
    Fault("read", errno.EIO)]
if EVERY:
    FILE_FAULTS += [
        Fault("write", errno.EIO), Fault("write", errno.ENOSPC), Fault("write", 0, "short"), Fault("write", 0, "kill"), Fault("sync", errno.ENOSPC),
        Fault("truncate", errno.EIO), Fault("truncate", errno.ENOSPC), Fault("truncate", 0, "kill"), Fault("open", 0, "kill"),
        Fault("unlink", errno.EIO), Fault("unlink", 0, "kill"), Fault("read", 0, "kill"), Fault("map", errno.ENOMEM), Fault("map", 0, "kill")]
READS = [f"/api/calls/RM_{{}}/outcome?user_id={torture.TENANT}", f"/api/calls?user_id={torture.TENANT}", f"/api/calls/RM_{{}}/events?user_id={torture.TENANT}",
         "/readyz", "/metrics"]


def http_get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


class Bench:
    """A daemon with the injector in it, its store, and what it has acknowledged."""

    def __init__(self, binary: pathlib.Path, library: pathlib.Path, folder: pathlib.Path, database: Database, args: tuple[str, ...] = ()) -> None:
        self.data, self.database, self.args = folder / "data", database, args
        self.data.mkdir(exist_ok=True)
        self.url = database.url
        self.injector = inject.Injector(library, folder / "control", self.data)
        self.lives = torture.Lives(binary, folder, self.injector.environment(record=True))
        self.acknowledged: set[str] = set()
        self.numbers = itertools.count(1)
        self.connection = torture.Connection(self.lives.socket)

    def begin(self) -> bool:
        """True when it is ready; False when it ended instead."""
        self.lives.begin(self.url, *self.args)
        deadline = time.monotonic() + HANG_S
        while self.lives.process.poll() is None:
            answer = self.ask(http_get("/readyz"))
            if answer is not None and (answer[0] == 200 or self.ended()):
                return True
            assert time.monotonic() < deadline, f"not ready, not ended: {answer}\n{self.lives.log()[-3000:]}"
            time.sleep(0.005)
        return False

    def ended(self) -> bool:
        """It has said that it needs to be started again: a sync of the database failed, or the spool could not be opened."""
        return any(text in self.lives.log() for text in ("msg=store_ended", 'msg="no spool:'))

    def ask(self, request: bytes) -> tuple[int, bytes] | None:
        began = time.monotonic()
        answer = self.connection.ask(request, HANG_S)
        assert time.monotonic() - began < HANG_S - 1, f"no answer:\n{self.lives.log()[-3000:]}"
        if answer is not None and answer[0] == 200 and b'"event_id"' in answer[1]:
            self.acknowledged.add(json.loads(answer[1])["event_id"])
        return answer

    def exercise(self) -> list[int | None]:
        """Two calls, a mark, and reads; the statuses."""
        statuses = []
        for pattern in (torture.PATTERNS[0], torture.PATTERNS[3]):
            call = pattern.make(next(self.numbers))
            for _, request in call.requests:
                statuses.append(self.ask(request))
            for path in READS:
                statuses.append(self.ask(http_get(path.format(call.tag))))
        return [s[0] if s else None for s in statuses]

    def way_on(self) -> None:
        """A webhook is taken again; where acknowledging has ended, once the daemon was started anew."""
        deadline = time.monotonic() + WAY_ON_S
        request = torture.PATTERNS[0].make(next(self.numbers)).requests[0][1]
        while (answer := self.ask(request)) is None or answer[0] != 200:
            if self.ended():
                assert answer is None or answer[0] == 503
                self.lives.kill()
                assert self.begin()
            self.lives.check_alive()
            assert time.monotonic() < deadline, f"no way on: {answer}\n{self.lives.log()[-3000:]}"
            time.sleep(0.01)

    def end(self) -> None:
        self.connection.close()
        self.lives.end()

    def check_report(self) -> None:
        if "CHECK failed: sanitizer_" in self.lives.log():
            return  # the sanitizer's own allocation was it that failed
        report = SANITIZER_REPORT.search(self.lives.log())
        assert report is None, self.lives.log()[max(0, report.start() - 500):report.start() + 6000]

    def missing(self) -> set[str]:
        return self.acknowledged - self.database.event_ids()

    def close(self) -> None:
        self.connection.close()
        process = self.lives.process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        self.injector.close()


@dataclasses.dataclass
class Tally:
    calls: int = 0  # of that kind in an undisturbed run
    tried: int = 0
    hit: int = 0


def chosen(total: int, stride: int = 1) -> list[int]:
    """The Ns to try: all (every stride-th), or some of them, the first and the last among them."""
    if EVERY or total <= SAMPLES:
        return list(range(1, total + 1, stride))
    return sorted({round(1 + i * (total - 1) / (SAMPLES - 1)) for i in range(SAMPLES)})


def whole_life(bench: Bench, fault: Fault, n: int) -> bool:
    """From start to stop with one fault. True when it came."""
    bench.injector.arm(fault, n)
    kills = fault.mode.startswith("kill")
    started = bench.begin()
    if started:
        statuses = bench.exercise()
        assert kills or set(statuses) <= {200, 404, 503} | ({None, 500} if fault.kind == "memory" else set()), statuses
    if bench.injector.hits and not kills and bench.lives.process.poll() is None:
        bench.injector.disarm()
        bench.way_on()
    bench.connection.close()
    if bench.lives.process.poll() is None and not (kills and bench.injector.hits):
        bench.lives.process.terminate()
    code = bench.lives.process.wait(HANG_S)
    hit = bench.injector.hits > 0
    assert code >= 0 or (kills and hit and code == -9), f"ended with {code}:\n{bench.lives.log()[-3000:]}"
    assert code == 0 or hit, f"exit code {code} without a fault:\n{bench.lives.log()[-3000:]}"
    bench.check_report()
    bench.injector.disarm()
    return hit


def power_failed(bench: Bench, model: disk.Disk) -> None:
    """Had it failed now: what was acknowledged is on the disk, in the database or in the spool."""
    for operation in disk.read_record(bench.injector.record_path) if bench.injector.record_path.exists() else []:
        model.play(operation)
    kept: set[str] = bench.database.event_ids() if bench.database.kind == "postgres" else set()
    with tempfile.TemporaryDirectory() as name:
        model.image(bench.data, pathlib.Path(name))
        if (path := pathlib.Path(name) / "outcomed.db").exists():
            connection = sqlite3.connect(path)
            kept = {row[0] for row in connection.execute('SELECT "eventId" FROM livekit_call_events')}
            connection.close()
        spooled = b"".join(path.read_bytes() for path in pathlib.Path(name).glob("spool/*"))
    assert {i for i in model.acknowledged - kept if i.encode() not in spooled} == set()


@pytest.fixture(scope="module")
def migrated(outcomed_binary, tmp_path_factory) -> pathlib.Path:
    """A SQLite file with the schema in it."""
    folder = tmp_path_factory.mktemp("migrated")
    torture.undisturbed(torture.Lives(outcomed_binary, folder), Database("sqlite", f"sqlite:{folder}/outcomed.db"))
    return folder / "outcomed.db"


@pytest.fixture
def library(build_folder) -> pathlib.Path:
    return build_folder / "tests/faults/inject.so"


def fresh(folder: pathlib.Path, template: pathlib.Path) -> pathlib.Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    shutil.copy(template, folder / "data/outcomed.db")
    return folder


@pytest.mark.timeout(3600 if EVERY else 180)
@pytest.mark.parametrize("fault", FILE_FAULTS, ids=str)
def test_sqlite_with_any_call_on_its_files_failing(outcomed_binary, library, migrated, tmp_path, say, fault):
    def trial(n: int) -> tuple[bool, int]:
        folder = fresh(tmp_path / "trial", migrated)
        bench = Bench(outcomed_binary, library, folder, Database("sqlite", f"sqlite:{folder}/data/outcomed.db"))
        model = disk.Disk(bench.data)
        bench.numbers = itertools.count(1000)
        try:
            hit = whole_life(bench, fault, n)
            calls = bench.injector.calls(fault.kind)
            if hit:
                assert bench.begin(), bench.lives.log()[-3000:]
                bench.way_on()
                bench.end()
            assert bench.missing() == set()
            assert bench.database.query("PRAGMA integrity_check") == [("ok",)]
            power_failed(bench, model)
            return hit, calls
        except AssertionError as problem:
            raise AssertionError(f"{fault}, call {n}: {problem}") from None
        finally:
            bench.close()

    tally = Tally(calls=trial(1 << 40)[1])
    for n in chosen(tally.calls):
        tally.tried += 1
        tally.hit += trial(n)[0]
    say(f"SQLite, {fault}: {tally.calls} calls in a small run, {tally.tried} tried, {tally.hit} failed; false acknowledgements 0, crashes 0")
    assert tally.hit >= tally.tried / 2


NO_DATABASE = "postgresql://nobody@127.0.0.1:1/nothing"
SPOOL_FAULTS = {
    "appending": [f for f in FILE_FAULTS if f.kind in ("write", "sync", "truncate", "open")],
    "draining": [f for f in FILE_FAULTS if f.kind in ("open", "read", "unlink", "map")],
}


@pytest.mark.timeout(3600 if EVERY else 180)
@pytest.mark.parametrize(("phase", "fault"), [(phase, fault) for phase, faults in SPOOL_FAULTS.items() for fault in faults], ids=str)
def test_the_spool_with_any_call_on_its_files_failing(outcomed_binary, library, new_database, tmp_path, say, phase, fault):
    """Appending: there is no database. Draining: the spool has the events of two calls, the database is there, and two more come."""
    database, numbers = new_database("postgres"), itertools.count(1)
    subprocess.run([outcomed_binary, "migrate", "upgrade", "--database", database.url], env=environment(), capture_output=True, check=True)

    def trial(n: int) -> tuple[bool, int]:
        folder = tmp_path / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "data").mkdir(parents=True)
        bench = Bench(outcomed_binary, library, folder, database, ("--migrate", "--spool", str(folder / "data/spool")))
        bench.url, bench.numbers = NO_DATABASE, numbers
        model = disk.Disk(bench.data)
        try:
            before = 0
            if phase == "draining":
                assert bench.begin()
                bench.exercise()
                bench.end()
                bench.url, before = database.url, bench.injector.calls(fault.kind)
            hit = whole_life(bench, fault, n)
            calls = bench.injector.calls(fault.kind) - before
            power_failed(bench, model)
            bench.url = database.url
            assert bench.begin(), bench.lives.log()[-3000:]
            bench.lives.wait_drained()
            bench.way_on()
            bench.end()
            assert bench.missing() == set()
            assert [path.name for path in (bench.data / "spool").iterdir() if path.suffix] == []
            return hit, calls
        except AssertionError as problem:
            raise AssertionError(f"{fault}, call {n}: {problem}") from None
        finally:
            bench.close()

    tally = Tally(calls=trial(1 << 40)[1])
    for n in chosen(tally.calls):
        tally.tried += 1
        tally.hit += trial(n)[0]
    say(f"spool, {phase}, {fault}: {tally.calls} calls in a small run, {tally.tried} tried, {tally.hit} failed; false acknowledgements 0, crashes 0")
    assert tally.hit >= tally.tried / 2


@pytest.mark.timeout(3600 if EVERY else 180)
@pytest.mark.parametrize(("store", "fault"), [("sqlite", Fault("memory", errno.ENOMEM)), ("postgres", Fault("memory", errno.ENOMEM)),
                                              ("postgres", Fault("net", errno.ECONNRESET)), ("postgres", Fault("net", 0, "kill"))], ids=str)
def test_a_whole_life_with_any_allocation_or_any_call_on_the_connection_failing(outcomed_binary, library, new_database, tmp_path, say, store, fault):
    bench = Bench(outcomed_binary, library, tmp_path, new_database(store), ("--migrate",) if store == "postgres" else ())
    if fault.kind == "memory":  # OpenSSL leaks what it has when it cannot begin
        bench.lives.env["ASAN_OPTIONS"] += ":detect_leaks=0"
    tally = Tally()
    try:
        assert not whole_life(bench, fault, 1 << 40)  # makes the schema
        before = bench.injector.calls(fault.kind)
        assert not whole_life(bench, fault, 1 << 40)
        tally.calls = bench.injector.calls(fault.kind) - before
        for n in chosen(tally.calls, START_STRIDE[store] if fault.kind == "memory" else 1):
            tally.tried += 1
            tally.hit += whole_life(bench, fault, n)
        assert bench.begin(), bench.lives.log()[-3000:]
        bench.way_on()
        bench.end()
        assert bench.missing() == set()
    finally:
        bench.close()
    say(f"{store}, from start to stop, {fault}: {tally.calls} calls, {tally.tried} tried, {tally.hit} failed; false acknowledgements 0, crashes 0")
    assert tally.hit >= tally.tried / 2


@pytest.mark.timeout(3600 if EVERY else 180)
@pytest.mark.parametrize(("store", "fault"), [("sqlite", Fault("memory", errno.ENOMEM)), ("postgres", Fault("memory", errno.ENOMEM)),
                                              ("postgres", Fault("net", errno.ECONNRESET))], ids=str)
def test_a_running_daemon_with_any_allocation_or_any_call_on_the_connection_failing(outcomed_binary, library, new_database, tmp_path, say, store, fault):
    args = ("--migrate",) if store == "postgres" else ()
    bench = Bench(outcomed_binary, library, tmp_path, new_database(store), args)
    tally = Tally()
    try:
        assert bench.begin()
        bench.exercise()
        before = bench.injector.calls(fault.kind)
        assert set(bench.exercise()) == {200}
        tally.calls = bench.injector.calls(fault.kind) - before
        for n in chosen(tally.calls):
            bench.injector.arm(fault, n)
            statuses = bench.exercise()
            bench.injector.disarm()
            bench.lives.check_alive()
            assert set(statuses) <= {200, 404, 503, None, 500}, (n, statuses)
            bench.way_on()
            tally.tried += 1
            tally.hit += bench.injector.hits > 0
        bench.end()
        bench.check_report()
        assert bench.missing() == set()
    finally:
        bench.close()
    say(f"{store}, {fault}: {tally.calls} calls in a small run, {tally.tried} tried, {tally.hit} failed; false acknowledgements 0, crashes 0")
    assert tally.hit >= tally.tried / 2
