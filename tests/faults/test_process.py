"""What befalls a process: its log is not read, its clock jumps, descriptors and memory run out, signals rain on it. It goes on, or stops in
order, and nothing acknowledged is lost. The store does not matter here, so it is SQLite."""

import contextlib
import fcntl
import json
import mmap
import os
import pathlib
import resource
import signal
import socket
import subprocess
import threading
import time

import pytest

from support import inject, signing
from support.daemon import Daemon, Database, environment
from support.events import CallMaker
from support.inject import Fault
from support.process import die_with_parent

pytestmark = pytest.mark.integration


class Steady:
    """A client that posts events over one connection until told to stop. `padding`: their ids are longer by so much, and so the log lines."""

    def __init__(self, daemon: Daemon, padding: int = 0) -> None:
        self._padding = "x" * padding
        self.acknowledged: set[str] = set()
        self.other: list[object] = []
        self._daemon, self._stop = daemon, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        connection = self._daemon.connect(timeout_s=15)
        while not self._stop.is_set():
            call = CallMaker()
            call.sid += self._padding
            for event in call.unanswered():
                event["id"] += self._padding
                try:
                    status = self._daemon.post_event(event, connection).status
                except OSError as end:
                    self.other.append(type(end).__name__)
                    connection.close()
                    time.sleep(0.05)
                    continue
                if status == 200:
                    self.acknowledged.add(event["id"])
                else:
                    self.other.append(status)
        connection.close()

    def wait_for(self, more: int) -> None:
        want, deadline = len(self.acknowledged) + more, time.monotonic() + 90
        while len(self.acknowledged) < want:
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} of {want}, otherwise {self.other[-5:]}"
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()

    def end(self) -> None:
        self.stop()
        self._thread.join(30)


# ---- a log that nobody reads ----

def test_a_log_that_nobody_reads_stops_nothing(outcomed_binary, tmp_path):
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    database = Database("sqlite", f"sqlite:{tmp_path}/outcomed.db")
    daemon = Daemon(outcomed_binary, tmp_path, database)
    with socket.create_server(("127.0.0.1", 0)) as s:
        daemon.port = s.getsockname()[1]
    daemon.process = subprocess.Popen([outcomed_binary, "serve", "--listen", f"127.0.0.1:{daemon.port}", "--database", database.url], cwd=tmp_path,
                                      env=environment(), stdin=subprocess.DEVNULL, stdout=write_end, stderr=write_end, preexec_fn=die_with_parent())
    os.close(write_end)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                if daemon.get("/readyz").status == 200:
                    break
            assert time.monotonic() < deadline and daemon.process.poll() is None
            time.sleep(0.05)
        loads = [Steady(daemon, padding=150) for _ in range(8)]
        try:
            loads[0].wait_for(90)  # and the others about as many: lines of more than 256 KiB
        finally:
            for load in loads:
                load.stop()
            for load in loads:
                load.end()
        assert [load.other for load in loads] == [[]] * 8
        assert daemon.metrics()["outcomed_log_lines_dropped_total"] > 0
        assert set().union(*(load.acknowledged for load in loads)) <= database.event_ids()
        os.set_blocking(read_end, False)
        fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, 1 << 20)
        seen, deadline = b"", time.monotonic() + 20
        while b"msg=log_lines_dropped lines=" not in seen:
            assert time.monotonic() < deadline
            with contextlib.suppress(BlockingIOError):
                seen += os.read(read_end, 1 << 20)
            assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200
        assert all(line.startswith(b"ts=") for line in seen.splitlines() if b"msg=" in line)
        assert daemon.stop() == 0
    finally:
        os.close(read_end)
        daemon.finish()


# ---- a clock that jumps ----

@pytest.fixture
def clock(build_folder, tmp_path):
    """(shift, environment): shift(seconds) sets the daemon's wall clock wrong by so much."""
    path = tmp_path / "shift"
    path.write_bytes(b"\0" * 8)
    with path.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 0)

    def shift(seconds: int) -> None:
        shared[:] = (seconds * 1000).to_bytes(8, "little", signed=True)

    yield shift, {"LD_PRELOAD": str(build_folder / "tests/faults/clock.so"), "CLOCK_SHIFT": str(path),
                  "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:verify_asan_link_order=0"}
    shared.close()


def test_a_clock_that_jumps_both_ways_changes_no_deadline_and_no_verdict(start_daemon, clock):
    shift, env = clock
    daemon = start_daemon("--request-timeout", "4", env=env)
    verdicts = []
    with contextlib.closing(daemon.connect()) as kept, contextlib.closing(daemon.connect()) as slow:
        assert daemon.request("GET", "/livez", connection=kept).status == 200
        own = kept.sock
        slow.connect()
        began = time.monotonic()
        slow.sock.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        for seconds in (3600, -3600, 86400 * 30, 0, -86400 * 30, 1):
            shift(seconds)
            now = int(time.time()) + seconds
            call = CallMaker(started_s=now - 60)
            for event in call.answered():
                body = json.dumps(event).encode()
                assert daemon.post(body, signing.sign(body, now=now), kept).status == 200
            verdicts.append(daemon.wait_outcome(call.sid, "user-1", 20))
            if time.monotonic() - began < 3:
                slow.sock.sendall(b"X-A: y\r\n")
        assert kept.sock is own, "no connection was ended"
        slow.sock.settimeout(20)
        assert slow.sock.recv(10) == b""
        assert time.monotonic() - began > 3.5, "a deadline does not go by the wall clock"
    assert {(v["outcome"], v["reason"], v["confidence"], v["duration"]) for v in verdicts} == {tuple(verdicts[0][k] for k in ("outcome", "reason", "confidence", "duration"))}
    assert daemon.database.count("livekit_call_events") == 60


def test_a_signature_of_the_other_clocks_time_is_refused_and_the_log_says_why(start_daemon, clock):
    shift, env = clock
    daemon = start_daemon(env=env)
    body = json.dumps(CallMaker().event("room_started", 0)).encode()
    for seconds, check in ((3600, "expired"), (-3600, "not_yet_valid")):
        shift(seconds)
        assert daemon.post(body).status == 401
        daemon.wait_log(f"check={check}")
    shift(0)
    assert daemon.post(body).status == 200


# ---- descriptors ----

def cpu_s(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_without_descriptors_the_others_are_served_and_nothing_spins(start_daemon):
    daemon = start_daemon("--request-timeout", "60")
    pid = daemon.process.pid
    load = Steady(daemon)
    try:
        load.wait_for(20)
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        top = max(int(p.name) for p in pathlib.Path(f"/proc/{pid}/fd").iterdir()) + 4
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (top, before[1]))
        with contextlib.ExitStack() as stack:
            for _ in range(40):
                stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port), timeout=5))
            daemon.wait_log("accept_failed")
            load.wait_for(50)
            load.end()
            spent = cpu_s(pid)
            time.sleep(1)
            assert cpu_s(pid) - spent < 0.7, "it waits between attempts"
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200
    finally:
        load.end()
    assert load.other == []
    assert "LimitNOFILE" in daemon.log()


# ---- memory ----

def test_without_memory_nothing_is_acknowledged_that_is_not_kept(start_daemon, build_folder, tmp_path):
    """Every allocation fails, of ours and of the libraries', for two seconds under load. Requests get a 503 or no answer; then all is well."""
    injector = inject.Injector(build_folder / "tests/faults/inject.so", tmp_path / "control", tmp_path)
    daemon = start_daemon(env=injector.environment())
    loads = [Steady(daemon) for _ in range(4)]
    try:
        loads[0].wait_for(20)
        injector.arm(Fault("memory"), 1, sticky=True)
        time.sleep(2)
        injector.disarm()
        assert injector.hits > 10
        for load in loads:
            load.wait_for(10)
    finally:
        injector.disarm()
        for load in loads:
            load.end()
    other = [o for load in loads for o in load.other]
    assert other and {o for o in other if isinstance(o, int)} <= {503}, other[:10]
    assert set().union(*(load.acknowledged for load in loads)) <= daemon.database.event_ids()
    assert daemon.get("/readyz").status == 200
    injector.close()


# ---- signals ----

def test_a_storm_of_hangups_changes_nothing(start_daemon):
    daemon = start_daemon()
    load = Steady(daemon)
    try:
        load.wait_for(10)
        for _ in range(2000):
            daemon.signal(signal.SIGHUP)
        load.wait_for(20)
    finally:
        load.end()
    assert load.other == []
    assert daemon.process.poll() is None


def test_a_storm_of_stops_is_one_stop(start_daemon):
    daemon = start_daemon()
    loads = [Steady(daemon) for _ in range(4)]
    try:
        loads[0].wait_for(30)
        began = time.monotonic()
        while daemon.process.poll() is None:
            daemon.signal(signal.SIGTERM)
            daemon.signal(signal.SIGHUP)
            assert time.monotonic() - began < 20
            time.sleep(0.001)
    finally:
        for load in loads:
            load.stop()
        for load in loads:
            load.end()
    assert daemon.process.returncode == 0
    assert daemon.log().count("stopping: finishing what was accepted") == 1
    assert set().union(*(load.acknowledged for load in loads)) <= daemon.database.event_ids()
