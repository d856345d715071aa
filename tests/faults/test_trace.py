"""No answer leaves before the sync that covers it, read off the system calls themselves, by two witnesses: strace, and the calls as a preloaded
library sees them, which needs no leave to trace. One judge: support/disk.py."""

import concurrent.futures
import json
import os
import pathlib
import signal
import sqlite3
import tempfile

import pytest

from support import disk, inject, torture, trace

pytestmark = pytest.mark.integration

CALLS = 6  # on three connections at once
WITNESSES = ("strace", "record")


class Witness:
    """A daemon whose calls are written down. `operations()` after it has ended."""

    def __init__(self, kind: str, binary: pathlib.Path, library: pathlib.Path, folder: pathlib.Path, data: pathlib.Path) -> None:
        self._kind, self._data, self._output = kind, data, folder / "strace.out"
        self._present = {str(p) for p in data.rglob("*")}
        self._injector = inject.Injector(library, folder / "control", data)
        if kind == "strace":
            # A traced process cannot trace itself, which is how leaks are looked for.
            self.lives = torture.Lives(binary, folder, {"ASAN_OPTIONS": "detect_leaks=0"}, tuple(trace.command(self._output)))
        else:
            self.lives = torture.Lives(binary, folder, self._injector.environment(record=True))

    def stop(self) -> None:
        process = self.lives.process
        pid = process.pid
        if self._kind == "strace":  # which passes no signals on
            pid = int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        os.kill(pid, signal.SIGTERM)
        assert process.wait(30) == 0, self.lives.log()[-3000:]

    def operations(self) -> list[disk.Operation]:
        if self._kind == "strace":
            return trace.Reader(self._data, self._present).read(self._output.read_text())
        return disk.read_record(self._injector.record_path)

    def close(self) -> None:
        if self.lives.process is not None and self.lives.process.poll() is None:
            self.lives.process.kill()
            self.lives.process.wait()
        self._injector.close()


@pytest.fixture(params=WITNESSES)
def make_witness(request, outcomed_binary, build_folder, tmp_path):
    """make_witness(data): of the files in that folder."""
    if request.param == "strace" and trace.refusal():
        pytest.skip(trace.refusal())
    made: list[Witness] = []

    def make(data: pathlib.Path) -> Witness:
        made.append(Witness(request.param, outcomed_binary, build_folder / "tests/faults/inject.so", tmp_path, data))
        return made[-1]

    yield make
    for witness in made:
        witness.close()


def send_calls(lives: torture.Lives, patterns=torture.PATTERNS) -> int:
    """Gives the number of events acknowledged: all."""

    def one(number: int) -> int:
        connection = torture.Connection(lives.socket)
        requests = patterns[number % len(patterns)].make(number).requests
        answers = [connection.ask(request) for _, request in requests]
        connection.close()
        assert {a[0] for a in answers} == {200}
        return len({json.loads(a[1])["event_id"] for a in answers})

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return sum(pool.map(one, range(1, 1 + CALLS)))


def kept_in_sqlite(image: pathlib.Path) -> set[str]:
    connection = sqlite3.connect(image / "outcomed.db")
    try:
        return {row[0] for row in connection.execute('SELECT "eventId" FROM livekit_call_events')}
    finally:
        connection.close()


def judge_disk(operations: list[disk.Operation], model: disk.Disk, data: pathlib.Path, kept) -> int:
    """At each answer: is all that was acknowledged by then on the disk?"""
    for operation in operations:
        if model.play(operation) is None:
            continue
        with tempfile.TemporaryDirectory() as name:
            model.image(data, pathlib.Path(name))
            missing = model.acknowledged - kept(pathlib.Path(name))
            assert missing == set(), f"answered before their sync ended: {missing}"
    return len(model.acknowledged)


def judge_server(operations: list[disk.Operation]) -> int:
    server = disk.Server()
    for operation in operations:
        event_id = server.play(operation)
        assert event_id is None or event_id.encode() in server.sure, f"{event_id} was answered before PostgreSQL had confirmed its commit"
    return len(server.acknowledged)


def earlier(operations: list[disk.Operation], number: int, kind: str) -> list[disk.Operation]:
    """With one answer moved to where its event was first written or told."""
    sends = [i for i, o in enumerate(operations) if o.kind == "send" and disk.ACKNOWLEDGED.search(o.data)]
    event_id = disk.ACKNOWLEDGED.search(operations[sends[number]].data)[1]
    first = next(i for i, o in enumerate(operations) if o.kind == kind and event_id in o.data)
    return [*operations[:first + 1], operations[sends[number]], *operations[first + 1:sends[number]], *operations[sends[number] + 1:]]


def test_sqlite_answers_after_the_sync(make_witness, new_database, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    witness = make_witness(data)
    witness.lives.begin(f"sqlite:{data}/outcomed.db")
    witness.lives.wait_ready()
    count = send_calls(witness.lives)
    witness.stop()
    operations = witness.operations()
    assert judge_disk(operations, disk.Disk(tmp_path / "nothing"), data, kept_in_sqlite) == count
    with pytest.raises(AssertionError, match="before their sync"):
        judge_disk(earlier(operations, count // 2, "write"), disk.Disk(tmp_path / "nothing"), data, kept_in_sqlite)


def test_postgres_answers_after_the_commit(make_witness, new_database, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    witness = make_witness(data)
    witness.lives.begin(new_database("postgres").url, "--migrate")
    witness.lives.wait_ready()
    count = send_calls(witness.lives)
    witness.stop()
    operations = witness.operations()
    assert judge_server(operations) == count
    with pytest.raises(AssertionError, match="before PostgreSQL had confirmed"):
        judge_server(earlier(operations, count // 2, "tell"))


def spooled(image: pathlib.Path) -> bytes:
    return b"".join(path.read_bytes() for path in image.glob("spool/*.spool"))


def judge_spool(operations: list[disk.Operation], model: disk.Disk, data: pathlib.Path) -> int:
    def kept(image: pathlib.Path) -> set[str]:
        content = spooled(image)
        return {event_id for event_id in model.acknowledged if event_id.encode() in content}

    return judge_disk(operations, model, data, kept)


def test_the_spool_answers_after_the_sync(make_witness, tmp_path):
    """There is no database at all. The file's name counts too: its directory was synced."""
    data = tmp_path / "data"
    data.mkdir()
    witness = make_witness(data)
    witness.lives.begin("postgresql://nobody@127.0.0.1:1/nothing", "--spool", str(data / "spool"))
    witness.lives.wait_ready()
    count = send_calls(witness.lives, torture.PATTERNS[:3])
    witness.stop()
    operations = witness.operations()
    assert judge_spool(operations, disk.Disk(tmp_path / "nothing"), data) == count
    with pytest.raises(AssertionError, match="before their sync"):
        judge_spool(earlier(operations, count // 2, "write"), disk.Disk(tmp_path / "nothing"), data)
