"""outcomed as a service: sockets held by a manager, readiness, watchdog, restarts under load."""

import contextlib
import ctypes
import errno
import http.client
import itertools
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

import psycopg
import pytest

from support.daemon import Daemon, environment
from support.events import CallMaker
from support.manager import Ear, listening
from support.process import pass_sockets

pytestmark = pytest.mark.integration


@pytest.fixture
def held():
    """A listening socket that outlives every daemon."""
    with listening() as s:
        yield s


@pytest.fixture
def ear(tmp_path):
    ear = Ear(tmp_path / "notify")
    yield ear
    ear.close()


@pytest.fixture
def activated(outcomed_binary, tmp_path, new_database):
    """activated(socket, …) gives a Daemon that is started with this socket; ended and looked at like any other."""
    daemons: list[Daemon] = []

    def make(*sockets: socket.socket, args: tuple[str, ...] = (), env: dict | None = None, database=None) -> Daemon:
        folder = tmp_path / f"activated-{len(daemons)}"
        folder.mkdir()
        daemon = Daemon(outcomed_binary, folder, database or new_database("sqlite"), args, env)
        daemon.inherited = sockets
        daemons.append(daemon)
        return daemon

    yield make
    for daemon in daemons:
        daemon.finish()


def test_a_socket_that_is_passed_is_taken_instead_of_listen(activated, held, ear):
    daemon = activated(held, env=ear.env, args=("--max-connections", "20")).start()
    assert daemon.port == held.getsockname()[1]
    assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200
    ear.wait_for("READY=1")
    assert daemon.stop() == 0
    ear.wait_for("STOPPING=1")
    with socket.create_connection(held.getsockname(), timeout=5):
        pass  # it waits for the next one: nobody was refused


def test_readiness_is_told_when_requests_are_taken(activated, held, ear):
    daemon = activated(held, env=ear.env)
    daemon.start(wait_ready=False)
    ear.wait_for("READY=1")
    assert daemon.get("/livez").status == 200
    assert [line for line in ear.lines() if line.startswith("STATUS=")] != []


def test_a_reload_is_told_from_its_beginning_to_its_end(activated, held, ear):
    daemon = activated(held, env=ear.env).start()
    daemon.signal(signal.SIGHUP)
    ear.wait_for("RELOADING=1")
    ear.wait_for("READY=1", 2)
    said = ear.lines()
    assert said.index("RELOADING=1") < len(said) - 1 - said[::-1].index("READY=1") and any(line.startswith("MONOTONIC_USEC=") for line in said)
    assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200


def test_a_unix_socket_stays_where_it_is(outcomed_binary, tmp_path, ear):
    path = tmp_path / "api.sock"
    with listening(socket.AF_UNIX, path) as held, (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", outcomed_binary, "serve", "--database", f"sqlite:{tmp_path}/o.db"],
            env=environment(ear.env | {"LISTEN_FDS": "1"}), cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=pass_sockets([held], lambda: None), close_fds=False)
        try:
            ear.wait_for("READY=1")
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(str(path))
                s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert s.recv(65536).startswith(b"HTTP/1.1 200")
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, (tmp_path / "log").read_text()
        assert path.is_socket()
        assert f"address=unix:{path}" in (tmp_path / "log").read_text()


def refusal(activated, *sockets) -> str:
    daemon = activated(*sockets)
    with pytest.raises(AssertionError, match="ended with 2"):
        daemon.start()
    return daemon.log()


def test_what_cannot_be_listened_on_is_refused_with_the_reason(activated, held):
    with listening() as other:
        assert "outcomed listens on one" in refusal(activated, held, other)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        assert "no listening stream socket" in refusal(activated, datagrams)
    with socket.socket() as not_listening:
        not_listening.bind(("127.0.0.1", 0))
        assert "no listening stream socket" in refusal(activated, not_listening)


def test_a_public_socket_needs_a_token_like_a_public_address(activated):
    with listening(address="0.0.0.0") as public:
        assert "is a public address" in refusal(activated, public)
        daemon = activated(public, env={"OUTCOMED_SERVICE_TOKEN": "a-long-random-token-of-a-test-0001"})
        daemon.start(wait_ready=False)
        assert daemon.get("/metrics").status == 401, "open on loopback only"


# ---- restarts ----

class Clients:
    """Keep-alive clients that post calls until told to stop; one whose connection ended before the answer sends again, as LiveKit does."""

    def __init__(self, daemon: Daemon, count: int, one_shot: int = 1) -> None:
        self.acknowledged: set[str] = set()
        self.answers: list[int] = []
        self.troubles: list[str] = []
        self.slowest_s = 0.0
        self._daemon, self._stop, self._lock = daemon, threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(i >= count,)) for i in range(count + one_shot)]
        for thread in self._threads:
            thread.start()

    def _client(self, one_shot: bool) -> None:
        connection = self._daemon.connect()
        while not self._stop.is_set():
            for event in CallMaker().unanswered():
                began = time.monotonic()
                while not self._send(connection, event):
                    connection.close()
                with self._lock:
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                if one_shot:
                    connection.close()
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, event: dict) -> bool:
        try:
            reply = self._daemon.post_event(event, connection)
        except (http.client.HTTPException, OSError) as trouble:
            with self._lock:
                self.troubles.append(type(trouble).__name__)
            return False
        with self._lock:
            self.answers.append(reply.status)
            if reply.status == 200:
                self.acknowledged.add(event["id"])
        if reply.headers.get("connection", "").lower() == "close":
            connection.close()
        return reply.status == 200

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def test_restarts_under_load_refuse_nobody_and_lose_nothing(activated, held, database, say):
    restarts = int(os.environ.get("RESTARTS", "3"))
    daemon = activated(held, database=database).start()
    clients = Clients(daemon, 6)
    for _ in range(restarts):
        before = len(clients.acknowledged)
        deadline = time.monotonic() + 30
        while len(clients.acknowledged) < before + 150:
            assert time.monotonic() < deadline, f"{len(clients.acknowledged)} acknowledged, troubles {clients.troubles[:5]}"
            time.sleep(0.01)
        assert daemon.stop() == 0
        daemon.start(wait_ready=False)
    clients.stop()
    assert set(clients.answers) == {200}
    # A client that falls silent for a quarter of a second and sends in the very moment in which it is said goodbye to hears the stream end.
    # It is never reset or refused, and nothing of it is lost: it sends again.
    assert set(clients.troubles) <= {"RemoteDisconnected"}, clients.troubles
    assert len(clients.troubles) <= restarts, clients.troubles
    assert clients.acknowledged - database.event_ids() == set()
    assert database.count("livekit_call_events") == len(database.event_ids())
    say(f"{restarts} restarts under load ({database.kind}): {len(clients.answers)} answers, all 200; connections cut {len(clients.troubles)}; "
        f"slowest answer {clients.slowest_s:.2f} s")


def test_an_open_connection_gets_its_answer_and_then_a_polite_end(activated, held):
    daemon = activated(held).start()
    with contextlib.closing(daemon.connect()) as connection:
        assert daemon.request("GET", "/livez", connection=connection).headers.get("connection") is None
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("stopping")
        reply = daemon.request("POST", "/api/webhooks/call_completed", b"{}", connection=connection)
        assert reply.status == 401 and reply.headers["connection"].lower() == "close"
    assert daemon.process.wait(10) == 0


# ---- the watchdog ----

def test_the_watchdog_is_fed_while_the_writer_works_and_while_it_sleeps(activated, held, ear):
    daemon = activated(held, env=ear.env | {"WATCHDOG_USEC": "400000"}).start()
    ear.wait_for("WATCHDOG=1", 4)
    assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200
    ear.wait_for("WATCHDOG=1", len(ear.lines("WATCHDOG=1")) + 4)
    assert "writer_hung" not in daemon.log()


class StoppedThread:
    """One thread of a process held still (ptrace), while the others go on."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

    def __init__(self, process: int, name: str) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._thread = next(int(task.name) for task in pathlib.Path(f"/proc/{process}/task").iterdir()
                            if (task / "comm").read_text().strip() == name)

    def _ask(self, what: int) -> None:
        if self._libc.ptrace(what, self._thread, None, None) != 0:
            number = ctypes.get_errno()
            if number == errno.EPERM:
                pytest.skip("this machine does not let one process hold another's thread")
            raise OSError(number, os.strerror(number))

    def __enter__(self) -> "StoppedThread":
        self._ask(self.SEIZE)
        self._ask(self.INTERRUPT)
        os.waitpid(self._thread, 0x40000000)  # __WALL
        return self

    def __exit__(self, *_) -> None:
        self._ask(self.DETACH)


def test_a_writer_that_hangs_is_not_fed_for(activated, held, ear):
    daemon = activated(held, env=ear.env | {"WATCHDOG_USEC": "400000"}).start()
    ear.wait_for("WATCHDOG=1", 2)
    answers: list[int] = []
    client = threading.Thread(target=lambda: answers.append(daemon.post_event(CallMaker().event("room_started", 0)).status))
    with StoppedThread(daemon.process.pid, "writer"):
        client.start()
        daemon.wait_log("msg=writer_hung")
        fed = len(ear.lines("WATCHDOG=1"))
        time.sleep(0.6)  # a whole watchdog's time and more
        assert len(ear.lines("WATCHDOG=1")) == fed, "the manager would have restarted it by now"
    client.join(30)
    assert answers == [200]
    ear.wait_for("WATCHDOG=1", fed + 2)


def test_a_frozen_database_is_no_reason_to_be_restarted(activated, held, ear, new_database):
    database = new_database("postgres")
    daemon = activated(held, env=ear.env | {"WATCHDOG_USEC": "12000000"}, database=database).start()
    assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200
    name = psycopg.conninfo.conninfo_to_dict(database.url)["dbname"]
    backends = [row[0] for row in database.query("SELECT pid FROM pg_stat_activity WHERE datname = ? AND starts_with(application_name, 'outcomed')", name)]
    assert backends
    for backend in backends:
        os.kill(backend, signal.SIGSTOP)
    try:
        until = time.monotonic() + 7
        while time.monotonic() < until:
            daemon.post_event(CallMaker().event("room_started", 0))
    finally:
        for backend in backends:
            with contextlib.suppress(ProcessLookupError):
                os.kill(backend, signal.SIGCONT)
    assert "writer_hung" not in daemon.log()
    pauses = [b - a for (a, _), (b, _) in itertools.pairwise(h for h in list(ear.heard) if h[1] == "WATCHDOG=1")]
    assert pauses and max(pauses) < 12, pauses
