"""The database goes away and comes back, and there is no spool (test_spool.py has one): nothing is acknowledged that is not kept, and nothing
acknowledged is lost."""

import contextlib
import json
import select
import socket
import threading
import time
import urllib.parse

import pytest

from support.daemon import Daemon, Database
from support.events import CallMaker

pytestmark = pytest.mark.integration

NO_SPOOL = {"OUTCOMED_SPOOL": "none"}


class Proxy:
    """Stands between outcomed and PostgreSQL; `cut()` breaks every connection and refuses new ones until `mend()`."""

    def __init__(self, host: str, port: int) -> None:
        self._to, self._open, self._lock = (host, port), True, threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if not self._open:
                    near.close()
                    continue
                far = socket.create_connection(self._to)
                self._pairs.add((near, far))
            threading.Thread(target=self._pump, args=(near, far), daemon=True).start()

    def _pump(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return self._drop(near, far)
                    (far if ready is near else near).sendall(data)
        return self._drop(near, far)

    def _drop(self, near: socket.socket, far: socket.socket) -> None:
        with self._lock:
            self._pairs.discard((near, far))
        for s in (near, far):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def cut(self) -> None:
        with self._lock:
            self._open = False
            pairs = list(self._pairs)
        for near, far in pairs:
            for s in (near, far):
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        with self._lock:
            self._open = True

    def close(self) -> None:
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def behind_proxy(start_daemon, new_database):
    """(daemon, proxy, the database asked directly)"""
    direct = new_database("postgres")
    parts = urllib.parse.urlsplit(direct.url)
    proxy = Proxy(parts.hostname, parts.port)
    through = Database("postgres", parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}").geturl())
    yield start_daemon(database=through, env=NO_SPOOL), proxy, direct
    proxy.close()


def wait_status(daemon: Daemon, path: str, status: int, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while daemon.get(path).status != status:
        assert time.monotonic() < deadline, f"{path} is not {status}:\n{daemon.log()[-3000:]}"
        time.sleep(0.1)


def test_without_database_503_and_when_to_come_back(behind_proxy):
    daemon, proxy, direct = behind_proxy
    call = CallMaker()
    events = call.answered()
    assert daemon.post_event(events[0]).status == 200
    proxy.cut()
    refused = daemon.post_event(events[1])
    assert refused.status == 503
    assert refused.headers["retry-after"] == "7"
    wait_status(daemon, "/readyz", 503)
    assert daemon.get("/livez").status == 200
    assert daemon.metrics()["outcomed_store_up"] == 0
    assert daemon.outcome(call.sid, call.tenant).status == 503
    proxy.mend()
    wait_status(daemon, "/readyz", 200)
    for event in events:
        assert daemon.post_event(event).status == 200
    assert daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"
    assert direct.count("livekit_call_events") == 10


@pytest.mark.idempotency
def test_connections_cut_again_and_again_lose_and_double_nothing(behind_proxy):
    daemon, proxy, direct = behind_proxy
    acknowledged: set[str] = set()
    stop = threading.Event()

    def post() -> None:
        while not stop.is_set():
            for event in CallMaker().unanswered():
                body = json.dumps(event).encode()
                for _ in range(200):  # as LiveKit: again until it is taken
                    reply = daemon.post(body)
                    assert reply.status in (200, 503)
                    if reply.status == 200:
                        acknowledged.add(event["id"])
                        break
                    if stop.is_set():
                        return
                    time.sleep(0.05)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        time.sleep(0.4)
        proxy.cut()
        time.sleep(0.3)
        proxy.mend()
        wait_status(daemon, "/readyz", 200)
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert len(acknowledged) > 50
    assert acknowledged - direct.event_ids() == set()


def test_a_database_that_is_down_at_start_is_waited_for(start_daemon, new_database):
    direct = new_database("postgres")
    parts = urllib.parse.urlsplit(direct.url)
    proxy = Proxy(parts.hostname, parts.port)
    try:
        proxy.cut()
        through = Database("postgres", parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}").geturl())
        daemon = start_daemon(database=through, env=NO_SPOOL, wait_ready=False)
        assert daemon.get("/livez").status == 200
        assert daemon.get("/readyz").status == 503
        assert daemon.post_event(CallMaker().event("room_started", 0)).status == 503
        proxy.mend()
        wait_status(daemon, "/readyz", 200)
        assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200
        assert not parts.password or parts.password not in daemon.log()
    finally:
        proxy.close()


def test_a_database_that_refuses_rows_of_one_call_keeps_the_others(start_daemon, new_database):
    """What the database itself refuses is found by halving the batch: that event is kept aside, the rest committed."""
    database = new_database("postgres")
    daemon = start_daemon(database=database)
    database.query("""
        CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW."eventId" = 'EV_poison' AND NEW.processed = 1 THEN RAISE EXCEPTION 'poisoned' USING ERRCODE = '22023'; END IF;
        RETURN NEW; END $$""")
    database.query("CREATE TRIGGER poison BEFORE INSERT ON livekit_call_events FOR EACH ROW EXECUTE FUNCTION poison()")
    events = [e for _ in range(6) for e in CallMaker().unanswered()]
    events[17] = CallMaker().event("room_started", 0) | {"id": "EV_poison"}
    results: dict[str, str] = {}

    def post(event: dict) -> None:
        reply = daemon.post_event(event)
        results[event["id"]] = reply.json()["status"] if reply.status == 200 else str(reply.status)

    threads = [threading.Thread(target=post, args=(e,)) for e in events]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {i: s for i, s in results.items() if s != "processed"} == {"EV_poison": "quarantined"}
    assert database.event_ids() == set(results)
    assert database.query('SELECT processed FROM livekit_call_events WHERE "eventId" = \'EV_poison\'') == [(0,)]
