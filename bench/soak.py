"""Half of what it can do, for a long time: webhooks at half of the full speed, which is measured first, and beside them reads, marks, duplicates, requests
that are wrong in every way, clients that drip and clients that are silent, from changing addresses. Memory, descriptors, threads and queues are looked at
every few seconds. It has passed when everything acknowledged is stored once and has a verdict, the memory is flat over the second half, and
descriptors, threads and queues are back where they began. For each store in turn; everything on loopback and in one folder that is gone at the end."""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import bench

CONNECTIONS = 32
WINDOW_S = 5             # webhooks are signed for so long at a time
SAMPLE_S = 5
DRIPPING, SILENT = 15, 15
SLACK_KIB, SLACK_SHARE = 2048, 0.05  # what the fitted line of the resident memory may rise over the second half
JUDGE_MEMORY_AFTER_S = 300           # shorter runs are still filling caches
SETTLE_S = 90
FULL_SPEED_EVENTS = 30_000
WEBHOOK = "/api/webhooks/call_completed"


class Soak:
    def __init__(self, name: str, build: pathlib.Path, folder: pathlib.Path, stack: contextlib.ExitStack, url: str, seconds: int) -> None:
        self.name, self.build, self.folder, self.seconds = name, build, folder, seconds
        self.target = bench.start_outcomed(name, build, folder, stack, url, [])
        self.next_call = 1  # every call before it is stored whole
        self.counts = {"sent": 0, "acknowledged": 0, "not": 0, "duplicates": 0, "reads": 0, "marks": 0, "wrong": 0, "slow": 0}
        self.odd: list[str] = []
        self.samples: list[dict] = []
        self.stopping = threading.Event()

    # ---- what is sent ----

    def load(self, kind: str, count: int, rate: float, *more: str, first_call: int = 0) -> dict:
        env = os.environ | {"LOAD_FIRST_CALL": str(first_call), "LOAD_SECONDS": "120", "LOAD_RATE": str(int(rate)),
                            "LIVEKIT_API_KEY": bench.KEY, "LIVEKIT_API_SECRET": bench.SECRET}
        done = subprocess.run([self.build / "bench/load", kind, f"127.0.0.1:{self.target.port}", str(count), str(CONNECTIONS), *more], env=env,
                              capture_output=True, text=True, timeout=180, check=False)
        if done.returncode not in (0, 1) or not done.stdout:
            raise SystemExit(f"load {kind}: {done.stderr}")
        return json.loads(done.stdout)

    def post(self, rate: float, events: int) -> dict:
        """Whole calls, to their end."""
        got = self.load("post", events, rate, first_call=self.next_call)
        self.next_call += events // 10
        self.counts["sent"] += got["requests"]
        self.counts["acknowledged"] += got["ok"]
        self.counts["not"] += got["refused"] + got["broken"]
        return got

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> int:
        """From an address of its own among those of loopback."""
        source = (f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}", 0)
        connection = http.client.HTTPConnection("127.0.0.1", self.target.port, timeout=30, source_address=source)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            reply.read()
            return reply.status
        finally:
            connection.close()

    def expect(self, what: str, allowed: tuple[int, ...], *request) -> None:
        try:
            status = self.ask(*request)
        except OSError as problem:
            status = type(problem).__name__
        if status not in allowed:
            self.odd.append(f"{what}: {status}")

    def some_call(self) -> int:
        return random.randrange(1, max(2, self.next_call - 20))

    def one_round_of_others(self) -> None:
        """A read of each kind, a mark, and some requests that are wrong."""
        call = self.some_call()
        user = f"user_id=user-{call % 50}"
        sid = f"RM_bench{call:010d}"
        for path in (f"/api/calls/{sid}/outcome?{user}", f"/api/calls/{sid}?{user}", f"/api/calls/{sid}/events?{user}&limit=5", f"/api/calls?{user}&limit=20"):
            self.expect(path, (200, 404), "GET", path)
            self.counts["reads"] += 1
        mark = {"roomSid": sid, "kind": "note", "value": f"soak {self.counts['marks']}"}
        self.expect("mark", (200,), "POST", f"/api/marks?{user}", json.dumps(mark).encode())
        self.counts["marks"] += 1
        junk = random.randbytes(16).hex()
        for what, allowed, request in (
            ("unsigned", (401,), ("POST", WEBHOOK, b"{}")),
            ("forged", (401,), ("POST", WEBHOOK, b"{}", {"Authorization": f"eyJhbGciOiJIUzI1NiJ9.e30.{junk}"})),
            ("unknown path", (404,), ("GET", f"/{junk}")),
            ("unknown tenant", (404,), ("GET", f"/api/calls/{sid}/outcome?user_id={junk}")),
            ("bad parameter", (400,), ("GET", f"/api/calls?{user}&{junk}=1")),
            ("bad mark", (400,), ("POST", "/api/marks", junk.encode())),
            ("bad method", (405,), ("DELETE", "/api/calls")),
            ("large body", (401, 413), ("POST", WEBHOOK, b"x" * 100_000)),
        ):
            self.expect(what, allowed, *request)
            self.counts["wrong"] += 1

    def others(self) -> None:
        while not self.stopping.wait(0.2):
            self.one_round_of_others()

    def duplicates(self) -> None:
        """Events that it has already, once more."""
        while not self.stopping.wait(3):
            if self.next_call > 200:
                got = self.load("post", 100, 200, first_call=random.randrange(1, self.next_call - 100))
                self.counts["duplicates"] += got["ok"]
                if got["refused"] + got["broken"]:
                    self.odd.append(f"duplicates: {got['refused']} refused, {got['broken']} broken")

    def slow(self) -> None:
        """Some send a byte now and then, some nothing; whoever is disconnected is followed by another."""
        clients: list[tuple[socket.socket, bool, int]] = []
        head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n".encode() + b"{" * 5000
        while not self.stopping.wait(0.5):
            alive = []
            for s, drips, sent in clients:
                try:
                    if drips:
                        s.send(head[sent:sent + 1])
                    s.setblocking(False)
                    if s.recv(4096) == b"":
                        raise ConnectionError
                    alive.append((s, drips, sent + 1))
                except BlockingIOError:
                    alive.append((s, drips, sent + 1))
                except OSError:
                    s.close()
                    self.counts["slow"] += 1
            clients = alive
            for drips, most in ((True, DRIPPING), (False, SILENT)):
                for _ in range(most - sum(1 for c in clients if c[1] is drips)):
                    with contextlib.suppress(OSError):
                        source = f"127.{random.randrange(1, 255)}.1.{random.randrange(1, 255)}"
                        clients.append((socket.create_connection(("127.0.0.1", self.target.port), timeout=5, source_address=(source, 0)), drips, 0))
        for s, _, _ in clients:
            s.close()

    # ---- what is seen ----

    def metrics(self) -> dict[str, float]:
        connection = http.client.HTTPConnection("127.0.0.1", self.target.port, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}

    def sample(self) -> dict:
        proc = pathlib.Path(f"/proc/{self.target.pid}")
        status = dict(re.findall(r"^(VmRSS|VmHWM|Threads):\s+(\d+)", (proc / "status").read_text(), re.MULTILINE))
        m = self.metrics()
        return {"at": time.monotonic(), "rss": int(status["VmRSS"]), "peak": int(status["VmHWM"]), "threads": int(status["Threads"]),
                "fds": len(list((proc / "fd").iterdir())), "connections": int(m["outcomed_http_connections"]), "queue": int(m["outcomed_queue_depth"]),
                "wal": int(m["outcomed_sqlite_wal_bytes"]), "bodies": int(m["outcomed_http_body_bytes"]), "spool": int(m.get("outcomed_spool_bytes", 0))}

    def watch(self) -> None:
        while not self.stopping.wait(SAMPLE_S):
            try:
                self.samples.append(self.sample())
            except OSError as problem:
                self.odd.append(f"metrics: {problem}")

    # ---- the whole ----

    def run(self) -> None:
        bench.say(f"{self.name}: full speed")
        self.post(0, FULL_SPEED_EVENTS // 3)  # so that the start is that of a server at work
        full = self.post(0, FULL_SPEED_EVENTS)["per_second"]
        self.settle()
        start = self.sample()
        self.start, self.full, self.rate = start, full, full / 2
        bench.say(f"{self.name}: {full:.0f} a second; {self.seconds} s at half of it")
        threads = [threading.Thread(target=t) for t in (self.others, self.duplicates, self.slow, self.watch)]
        began = time.monotonic()
        for t in threads:
            t.start()
        sent = self.counts["sent"]
        try:
            while time.monotonic() - began < self.seconds:
                self.post(self.rate, max(10, int(self.rate * WINDOW_S) // 10 * 10))
        finally:
            self.stopping.set()
            for t in threads:
                t.join()
        self.took = time.monotonic() - began
        self.achieved = (self.counts["sent"] - sent) / self.took
        self.end = self.settle()

    def settle(self) -> dict:
        """Waits until nothing is under way."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            now = self.sample()
            quiet = now["queue"] == 0 and now["connections"] <= 1 and now["bodies"] == 0
            if (quiet and (not self.samples or now["fds"] <= self.start["fds"])) or time.monotonic() > deadline:
                return now
            time.sleep(1)

    def slope(self) -> tuple[float, float]:
        """Of the resident memory over the second half of the samples, by least squares: KiB a minute, and KiB in all."""
        half = self.samples[len(self.samples) // 2:]
        if len(half) < 3:
            return 0, 0
        t = [s["at"] - half[0]["at"] for s in half]
        mean_t, mean_r = sum(t) / len(t), sum(s["rss"] for s in half) / len(half)
        per_s = sum((x - mean_t) * (s["rss"] - mean_r) for x, s in zip(t, half, strict=True)) / sum((x - mean_t) ** 2 for x in t)
        return per_s * 60, per_s * t[-1]

    def problems(self, stored: int, marks: int, unjudged: int) -> list[str]:
        found = [f"{len(self.odd)} odd answers, such as {', '.join(self.odd[:5])}"] if self.odd else []
        if not self.counts["acknowledged"] <= stored <= self.counts["acknowledged"] + self.counts["not"]:
            found.append(f"{self.counts['acknowledged']} acknowledged, {stored} stored")
        if marks != self.counts["marks"]:
            found.append(f"{self.counts['marks']} marks acknowledged, {marks} stored")
        if self.counts["not"]:
            found.append(f"{self.counts['not']} webhooks were not acknowledged")
        if unjudged:
            found.append(f"{unjudged} calls have no verdict")
        for what in ("fds", "threads", "queue", "bodies", "spool"):
            if self.end[what] > self.start[what]:
                found.append(f"{what}: {self.start[what]} before, {self.end[what]} afterwards")
        rise = self.slope()[1]
        if self.seconds >= JUDGE_MEMORY_AFTER_S and rise > max(SLACK_KIB, SLACK_SHARE * self.end["rss"]):
            found.append(f"memory: {rise:.0f} KiB more over the second half")
        return found

    def table(self) -> str:
        rows = ["| after s | RSS MiB | descriptors | threads | connections | queue | WAL MiB |", "|--:|--:|--:|--:|--:|--:|--:|"]
        step = max(1, len(self.samples) // 12)
        for s in [self.start, *self.samples[step - 1::step], self.end]:
            rows.append(f"| {s['at'] - self.start['at']:.0f} | {s['rss'] / 1024:.1f} | {s['fds']} | {s['threads']} | {s['connections']} | {s['queue']} | {s['wal'] / 2**20:.1f} |")
        per_minute, rise = self.slope()
        most = {k: max(s[k] for s in [self.start, *self.samples, self.end]) for k in ("peak", "fds", "queue", "wal")}
        c = self.counts
        rows += ["", f"{self.name}: {self.took:.0f} s at {self.achieved:.0f} webhooks a second (full speed {self.full:.0f}); {c['acknowledged']} acknowledged, {c['not']} not; "
                 f"beside them {c['reads']} reads, {c['marks']} marks, {c['duplicates']} duplicates, {c['wrong']} wrong requests, {c['slow']} slow clients ended. "
                 f"RSS {self.start['rss'] / 1024:.1f} to {self.end['rss'] / 1024:.1f} MiB, at most {most['peak'] / 1024:.1f}, second half {per_minute:+.1f} KiB a minute ({rise:+.0f} KiB); "
                 f"descriptors {self.start['fds']} to {self.end['fds']}, at most {most['fds']}; queue at most {most['queue']}; WAL at most {most['wal'] / 2**20:.0f} MiB."]
        return "\n".join(rows)


COUNTS = ("SELECT count(*) FROM livekit_call_events WHERE source = 'livekit'", "SELECT count(*) FROM livekit_call_events WHERE source = 'mark'",
          "SELECT count(*) FROM call_facts WHERE outcome IS NULL")


def soak_sqlite(build: pathlib.Path, folder: pathlib.Path, seconds: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        file = folder / "outcomed.db"
        soak = Soak("SQLite", build, folder, stack, f"sqlite:{file}", seconds)
        soak.run()
        connection = stack.enter_context(contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)))
        found = soak.problems(*(connection.execute(sql).fetchone()[0] for sql in COUNTS))
        print(soak.table() + "\n", flush=True)
        return [f"SQLite: {text}" for text in found]


def soak_postgres(build: pathlib.Path, folder: pathlib.Path, seconds: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        server = bench.Postgres(folder, stack)
        server.sql("postgres", "CREATE DATABASE outcomed")
        soak = Soak("PostgreSQL", build, folder, stack, server.url("outcomed"), seconds)
        soak.run()
        found = soak.problems(*(int(server.sql("outcomed", sql)) for sql in COUNTS))
        print(soak.table() + "\n", flush=True)
        return [f"PostgreSQL: {text}" for text in found]


def main() -> int:
    parser = argparse.ArgumentParser(description="Half of the full speed for a long time, on each store.")
    parser.add_argument("--build", default="build-bench", help="folder of a release build with -Dbench=true")
    parser.add_argument("--seconds", type=int, default=int(os.environ.get("SOAK_SECONDS") or 1800), help="of each store")
    parser.add_argument("--stores", default=os.environ.get("SOAK_STORES") or "sqlite postgres")
    parser.add_argument("--directory", default="/var/tmp", help="where the databases are put; half an hour takes some 25 GB of it")
    options = parser.parse_args()
    found = []
    for store in options.stores.split():
        folder = pathlib.Path(tempfile.mkdtemp(prefix="outcomed-soak-", dir=options.directory))
        folder.chmod(0o711)
        try:
            found += {"sqlite": soak_sqlite, "postgres": soak_postgres}[store](pathlib.Path(options.build).resolve(), folder, options.seconds)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    for text in found:
        print(f"NOT AS IT SHOULD BE: {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
