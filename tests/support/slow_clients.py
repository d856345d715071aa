"""Idle, dripping and greedy clients beside steady good traffic: how long the good ones wait, what they lose, how much memory it takes.

`make slow-clients` runs every scene on an optimised build and prints a table; tests/faults/test_slow_clients.py runs a small one."""

import argparse
import collections
import contextlib
import dataclasses
import http.client
import json
import multiprocessing
import pathlib
import re
import resource
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from support import signing  # noqa: E402
from support.daemon import WEBHOOK, Daemon, Database  # noqa: E402
from support.events import CallMaker  # noqa: E402
from support.tls import Certificate  # noqa: E402

GREEDY_BYTES = 8 << 20


@dataclasses.dataclass(frozen=True)
class Scene:
    name: str
    idle: int = 500
    dripping: int = 200
    greedy: int = 16          # genuine tokens, bodies of 8 MiB, all but the end at once
    addresses: int = 7        # the slow ones come from so many; 0: from the good ones' own
    args: tuple[str, ...] = ()
    tls: bool = False


SCENES = (
    Scene("nobody else", 0, 0, 0),
    Scene("default limits"),
    Scene("default limits, all from the good ones' address", addresses=0),
    Scene("limits raised, so that all are held", args=("--max-connections", "2000", "--max-connections-unauthenticated", "1500",
                                                       "--max-connections-per-address", "4000")),
    Scene("the same over TLS", args=("--max-connections", "2000", "--max-connections-unauthenticated", "1500", "--max-connections-per-address", "4000"), tls=True),
)


@dataclasses.dataclass
class Figures:
    name: str
    sent: int = 0
    bad: list = dataclasses.field(default_factory=list)  # whatever was no 200
    missing: int = 0                                     # acknowledged and not in the database
    milliseconds: list = dataclasses.field(default_factory=list)
    resident_kib: int = 0
    held: int = 0                                        # connections that the server had at most

    def percentile(self, p: float) -> float:
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * p))]

    def row(self) -> str:
        return (f"| {self.name} | {self.sent} | {len(self.bad)} | {self.missing} | {statistics.median(self.milliseconds):.1f} | {self.percentile(0.99):.1f} | "
                f"{max(self.milliseconds):.1f} | {self.held} | {self.resident_kib / 1024:.0f} |")


# ---- the slow ones, in a process of their own ----

def _dial(port: int, source: str, certificate: str | None) -> socket.socket:
    s = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))
    if certificate:
        s = ssl.create_default_context(cafile=certificate).wrap_socket(s, server_hostname="localhost")
    s.setblocking(False)
    return s


def _is_open(s: socket.socket) -> bool:
    try:
        return s.recv(4096) != b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def _greedy_head() -> bytes:
    headers = "".join(f"{k}: {v}\r\n" for k, v in signing.sign(b"x").items())
    return f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {GREEDY_BYTES}\r\n\r\n".encode()


class _Slow:
    """One client; comes back when it is thrown out."""

    def __init__(self, kind: str, port: int, source: str, certificate: str | None) -> None:
        self.kind, self.port, self.source, self.certificate = kind, port, source, certificate
        self.socket: socket.socket | None = None
        self.sent = 0

    def _be_greedy(self) -> None:
        """All but the end as fast as it is taken, then by drips."""
        while self.sent < GREEDY_BYTES - 65536:
            self.sent += self.socket.send(b"x" * 65536)
        self.socket.send(b"x")

    def turn(self) -> None:
        if self.socket is not None and not _is_open(self.socket):
            self.socket.close()
            self.socket = None
        with contextlib.suppress(OSError):
            if self.socket is None:
                self.sent = 0
                self.socket = _dial(self.port, self.source, self.certificate)
                self.socket.send({"idle": b"", "head": b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: ", "line": b"GET /", "greedy": _greedy_head(),
                                  "body": f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n".encode()}[self.kind])
            elif self.kind == "greedy":
                self._be_greedy()
            elif self.kind != "idle":
                self.socket.send(b"a")


def slow_process(scene: Scene, port: int, certificate: str | None, stop) -> None:
    source = (lambda i: f"127.0.1.{1 + i % scene.addresses}") if scene.addresses else (lambda i: "127.0.0.1")
    kinds = ["idle"] * scene.idle + [("head", "body", "line")[i % 3] for i in range(scene.dripping)]
    clients = [_Slow(kind, port, source(i), certificate) for i, kind in enumerate(kinds)]
    clients += [_Slow("greedy", port, "127.0.0.1", certificate) for _ in range(scene.greedy)]
    while not stop.is_set():
        began = time.monotonic()
        for client in clients:
            client.turn()
            if stop.is_set():
                break
        stop.wait(max(0.0, 0.5 - (time.monotonic() - began)))


# ---- the good ones ----

def good_client(daemon: Daemon, per_second: float, until: float, figures: Figures, acknowledged: set[str], lock: threading.Lock) -> None:
    connection = daemon.connect(timeout_s=10)
    due = time.monotonic()
    while due < until:
        for event in CallMaker().answered():
            time.sleep(max(0.0, due - time.monotonic()))
            due += 1 / per_second
            began = time.monotonic()
            try:
                status = daemon.post_event(event, connection).status
            except OSError as end:
                connection.close()
                status = type(end).__name__
            took = (time.monotonic() - began) * 1000
            with lock:
                figures.sent += 1
                figures.milliseconds.append(took)
                if status == 200:
                    acknowledged.add(event["id"])
                else:
                    figures.bad.append(status)
    connection.close()


def watch(daemon: Daemon, until: float, figures: Figures) -> None:
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            figures.resident_kib = max(figures.resident_kib, daemon.resident_kib())
            figures.held = max(figures.held, int(daemon.metrics()["outcomed_http_connections"]))
        time.sleep(0.2)


def play(scene: Scene, binary: pathlib.Path, folder: pathlib.Path, seconds: float, clients: int = 8, per_second: float = 200) -> Figures:
    class Front(Daemon):
        def connect(self, timeout_s: float = 30):
            plain = super().connect(timeout_s)
            if not scene.tls:
                return plain
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=certificate.context())

    certificate = Certificate(folder, "slow") if scene.tls else None
    args = scene.args + (certificate.arguments() if certificate else ())
    daemon = Front(binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db"), args).start()
    figures, acknowledged, lock = Figures(scene.name), set(), threading.Lock()
    stop = multiprocessing.Event()
    slow = multiprocessing.Process(target=slow_process, args=(scene, daemon.port, str(certificate.path) if certificate else None, stop), daemon=True)
    try:
        assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200
        slow.start()
        time.sleep(min(3.0, seconds / 3))
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=good_client, args=(daemon, per_second / clients, until, figures, acknowledged, lock)) for _ in range(clients)]
        threads.append(threading.Thread(target=watch, args=(daemon, until, figures)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stop.set()
        slow.join(10)
        if slow.is_alive():
            slow.kill()
        daemon.finish()
    figures.missing = len(acknowledged - daemon.database.event_ids())
    return figures


def under_a_memory_limit(binary: pathlib.Path, folder: pathlib.Path, spare_mib: int) -> str:
    """Large bodies with RLIMIT_AS so little above what the daemon has: what it answers, and whether it lives and goes on."""
    daemon = Daemon(binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db")).start()
    event = CallMaker().event("room_started", 0)
    answers: list = []
    try:
        assert daemon.post_event(event).status == 200
        pid = daemon.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_AS)
        size = int(re.search(r"VmSize:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) * 1024
        resource.prlimit(pid, resource.RLIMIT_AS, (size + (spare_mib << 20), before[1]))

        def send() -> None:
            for _ in range(4):
                body = json.dumps(CallMaker().event("room_started", 0) | {"filler": "x" * (6 << 20)}).encode()
                try:
                    answers.append(daemon.post(body).status)
                except OSError:
                    answers.append("no answer")

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        small = [daemon.post_event(e).status for e in CallMaker().answered()]
        resource.prlimit(pid, resource.RLIMIT_AS, before)
        after = daemon.post(json.dumps(CallMaker().event("room_started", 0) | {"filler": "x" * (6 << 20)}).encode()).status
    finally:
        daemon.finish()
    counts = ", ".join(f"{n} × {a}" for a, n in sorted(collections.Counter(answers).items(), key=str))
    assert set(answers) <= {200, 503, "no answer"} and after == 200, (answers, after)
    return f"| {spare_mib} MiB | {counts} | {', '.join(map(str, sorted(set(small))))} | {after} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    print("| beside | sent | not 200 | lost | p50 ms | p99 ms | max ms | connections held | RSS MiB |\n|---|---|---|---|---|---|---|---|---|", flush=True)
    failed = False
    for scene in SCENES:
        with tempfile.TemporaryDirectory() as folder:
            figures = play(scene, (options.build / "outcomed").resolve(), pathlib.Path(folder), options.seconds)
        print(figures.row(), flush=True)
        failed |= bool(figures.bad) or figures.missing > 0 or figures.percentile(0.99) >= 500 or figures.resident_kib >= 128 * 1024
    print("\n| memory left (RLIMIT_AS) | 24 bodies of 6 MiB by 6 clients | small ones meanwhile | a large one afterwards |\n|---|---|---|---|", flush=True)
    for spare_mib in (40, 16, 4):
        with tempfile.TemporaryDirectory() as folder:
            print(under_a_memory_limit((options.build / "outcomed").resolve(), pathlib.Path(folder), spare_mib), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
