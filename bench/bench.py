"""outcomed beside nginx `return 200` and pgbench with one transaction per event, in one run on one machine.

The runs of the candidates alternate (A B C A B C ...), because machines are noisy, and medians are quoted. Everything listens on
loopback, keeps its files in one temporary directory on a real disk, and is gone at the end. PostgreSQL and SQLite really sync."""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import pwd
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEY, SECRET = "devkey", "secret"
CONNECTIONS = (1, 16, 64)
WRK_CONNECTIONS = 64
WRK_THREADS = 2
WRK_POSTS = {"nginx": 20_000, "sqlite": 60_000, "postgres": 60_000}  # nginx may be sent the same ones again
TICKS = os.sysconf("SC_CLK_TCK")
POSTS = {1: 10_000, 16: 60_000, 64: 60_000}
FILL_S = 40  # longest time for each hundred thousand events before the memory is looked at
GETS = {1: 20_000, 16: 60_000, 64: 60_000}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what: str, ready, process: subprocess.Popen, log: pathlib.Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            if ready():
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)


def status_of(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return reply.status


# ---- what a process costs ----

def process_tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def cpu_seconds(roots: list[int]) -> float:
    """utime + stime of the processes and of their children that have ended."""
    ticks = 0
    for root in roots:
        for pid in process_tree(root):
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                ticks += sum(int(fields[i]) for i in ((11, 12, 13, 14) if pid == root else (11, 12)))
    return ticks / TICKS


def resident_mib(pid: int) -> float:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("no VmRSS")


# ---- the candidates ----

class Target:
    """Something that listens at `port` and whose processes are counted."""

    def __init__(self, name: str, port: int, roots: list[int], pid: int) -> None:
        self.name, self.port, self.roots, self.pid = name, port, roots, pid
        self.acknowledged = 0
        self.cut_off = 0  # requests that may have been under way when a run of wrk ended


class Postgres:
    def __init__(self, folder: pathlib.Path, stack: contextlib.ExitStack) -> None:
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            raise SystemExit("PostgreSQL is needed: apt-get install postgresql-15")
        self.programs = found[-1].parent
        self.folder = folder / "cluster"
        self.folder.mkdir()
        as_user = {}
        if os.getuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            as_user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        data, log = self.folder / "data", self.folder / "log"
        subprocess.run([self.programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"],
                       check=True, capture_output=True, cwd=self.folder, **as_user)
        self.port = free_port()
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200",
                 "-c", f"unix_socket_directories={self.folder}", "-c", "max_wal_size=2GB", "-c", "shared_buffers=256MB"],
                stdout=out, stderr=out, cwd=self.folder, **as_user)
        stack.callback(self.stop)
        wait_until("PostgreSQL", lambda: self.sql("postgres", "SELECT 1") == "1", self.process, log)

    def sql(self, database: str, text: str) -> str:
        done = subprocess.run([self.programs / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database, "-XAtq",
                               "-v", "ON_ERROR_STOP=1", "-c", text], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def start_nginx(folder: pathlib.Path, stack: contextlib.ExitStack, get_body: str) -> Target:
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    port = free_port()
    post_body = '{"status":"processed","event_id":"EV_b00000000000","message":"call_completed"}'
    home = folder / "nginx"
    home.mkdir()
    paths = "".join(f"{kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(f"""
worker_processes {os.cpu_count()};
pid {home}/pid;
error_log {home}/error.log;
daemon off;
{"user root;" if os.getuid() == 0 else ""}
events {{ worker_connections 1024; }}
http {{
    {paths}
    access_log off;
    keepalive_requests 1000000000;
    default_type application/json;
    server {{
        listen 127.0.0.1:{port};
        location /api/webhooks/ {{ return 200 '{post_body}'; }}
        location / {{ return 200 '{get_body.replace("'", "").replace("$", "")}'; }}
    }}
}}
""")
    log = folder / "nginx.log"
    with log.open("wb") as out:
        process = subprocess.Popen([nginx, "-c", home / "nginx.conf", "-p", home], stdout=out, stderr=out)
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)
    wait_until("nginx", lambda: status_of(f"http://127.0.0.1:{port}/") == 200, process, log)
    return Target("nginx", port, [process.pid], process.pid)


def start_outcomed(name: str, build: pathlib.Path, folder: pathlib.Path, stack: contextlib.ExitStack, url: str, more: list[int]) -> Target:
    port, home = free_port(), folder / name
    home.mkdir()
    log = home / "log"
    env = {"PATH": os.environ["PATH"], "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    with log.open("wb") as out:
        process = subprocess.Popen([build / "outcomed", "serve", "--listen", f"127.0.0.1:{port}", "--database", url, "--migrate"],
                                   env=env, cwd=home, stdout=out, stderr=out)
    stack.callback(process.wait, 60)
    stack.callback(process.terminate)
    wait_until(name, lambda: status_of(f"http://127.0.0.1:{port}/readyz") == 200, process, log)
    return Target(name, port, [process.pid, *more], process.pid)


class Bench:
    def __init__(self, options: argparse.Namespace, folder: pathlib.Path, stack: contextlib.ExitStack) -> None:
        self.build, self.options, self.folder = pathlib.Path(options.build).resolve(), options, folder
        self.next_call = 1
        self.postgres = Postgres(folder, stack)
        self.postgres.sql("postgres", "CREATE DATABASE outcomed")
        self.postgres.sql("postgres", "CREATE DATABASE comparison")
        self.sqlite_file = folder / "outcomed.db"
        self.sqlite = start_outcomed("sqlite", self.build, folder, stack, f"sqlite:{self.sqlite_file}", [])
        self.pg = start_outcomed("postgres", self.build, folder, stack, self.postgres.url("outcomed"), [self.postgres.process.pid])
        self.stack = stack

    # ---- one measurement ----

    def load(self, target: Target, *arguments: str, seconds: float) -> dict:
        env = dict(os.environ) | {"LOAD_FIRST_CALL": str(self.next_call), "LOAD_SECONDS": str(int(seconds)),
                                  "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
        before = cpu_seconds(target.roots)
        done = subprocess.run([self.build / "bench/load", *arguments], env=env, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode not in (0, 1) or not done.stdout:
            raise SystemExit(f"load {' '.join(arguments)}: {done.stderr}")
        result = json.loads(done.stdout)
        result["cpu_us"] = (cpu_seconds(target.roots) - before) * 1e6 / max(1, result["requests"])
        return result

    def post(self, target: Target, events: int, connections: int, seconds: float) -> dict:
        result = self.load(target, "post", f"127.0.0.1:{target.port}", str(events), str(connections), seconds=seconds)
        self.next_call += events // 10
        target.acknowledged += result["ok"]
        return result

    def get(self, target: Target, requests: int, connections: int, paths: pathlib.Path, seconds: float) -> dict:
        return self.load(target, "get", f"127.0.0.1:{target.port}", str(requests), str(connections), str(paths), seconds=seconds)

    def wrk(self, target: Target, kind: str, paths: pathlib.Path, seconds: int) -> dict:
        """The same requests sent by wrk, which many know and which costs the machine more than our own generator does."""
        prefix = self.folder / "requests"
        address = f"127.0.0.1:{target.port}"
        count = WRK_POSTS[target.name] if kind == "post" else 20_000
        env = dict(os.environ) | {"LOAD_FIRST_CALL": str(self.next_call), "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
        subprocess.run([self.build / "bench/load", "save", kind, address, str(count), str(WRK_THREADS), prefix, *([paths] if kind == "get" else [])],
                       env=env, check=True)
        before = cpu_seconds(target.roots)
        done = subprocess.run(["wrk", f"-t{WRK_THREADS}", f"-c{WRK_CONNECTIONS}", f"-d{seconds}s", "-s", ROOT / "bench/wrk.lua", f"http://{address}/", "--",
                               prefix], check=True, capture_output=True, text=True)
        result = json.loads(done.stdout.splitlines()[-1])
        result["cpu_us"] = (cpu_seconds(target.roots) - before) * 1e6 / max(1, result["requests"])
        if kind == "post":
            self.next_call += count // 10
            target.acknowledged += result["ok"]
            target.cut_off += WRK_CONNECTIONS
            if target.name != "nginx" and result["requests"] > count:
                raise SystemExit(f"wrk sent events of {target.name} twice: WRK_POSTS is too small")
        return result

    def pgbench(self, connections: int, seconds: int) -> dict:
        """One transaction per event: a bare INSERT of an event like ours into a table with three of our indexes."""
        script = self.folder / "pgbench.sql"
        payload = json.dumps({"event": "participant_left", "pad": "x" * 900})
        script.write_text(
            "\\set n random(1, 1000000000000)\n\\set call random(1, 1000000)\n"
            'INSERT INTO events ("eventId", event, "roomSid", "rawPayload") VALUES '
            f"('EV_' || :n, 'participant_left', 'RM_' || :call, '{payload}') ON CONFLICT DO NOTHING;\n")
        before = cpu_seconds([self.postgres.process.pid])
        done = subprocess.run([self.postgres.programs / "pgbench", "-h", "127.0.0.1", "-p", str(self.postgres.port), "-U", "postgres",
                               "-n", "-M", "prepared", "-c", str(connections), "-j", str(min(2, connections)), "-T", str(seconds),
                               "-l", "--log-prefix", str(self.folder / f"pgbench{connections}"), "-f", script, "comparison"],
                              check=True, capture_output=True, text=True, cwd=self.folder)
        cpu = cpu_seconds([self.postgres.process.pid]) - before
        micros = sorted(int(line.split()[2]) for log in self.folder.glob(f"pgbench{connections}.*") for line in log.open())
        for log in self.folder.glob(f"pgbench{connections}.*"):
            log.unlink()
        per_second = float(next(line for line in done.stdout.splitlines() if line.startswith("tps")).split()[2])
        at = lambda p: micros[int(p * (len(micros) - 1))] / 1000  # noqa: E731
        return {"requests": len(micros), "ok": len(micros), "refused": 0, "broken": 0, "per_second": per_second, "p50_ms": at(0.5),
                "p99_ms": at(0.99), "max_ms": at(1), "cpu_us": cpu * 1e6 / max(1, len(micros))}

    # ---- the whole ----

    def call_paths(self) -> pathlib.Path:
        """Outcomes that both stores have, by room SID."""
        calls = 2000
        events = calls * 10
        first = self.next_call
        for target in (self.sqlite, self.pg):
            self.next_call = first
            self.post(target, events, 16, 60)
        paths = self.folder / "paths"
        paths.write_text("".join(f"/api/calls/RM_bench{n:010d}/outcome?user_id=user-{n % 50}\n" for n in range(first, first + calls)))
        return paths

    def run(self) -> dict:
        rss = {t.name: {"start": resident_mib(t.pid)} for t in (self.sqlite, self.pg)}
        say("filling both stores")
        paths = self.call_paths()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.sqlite.port}{paths.open().readline().strip()}", timeout=5) as reply:
            size = len(reply.read())
        nginx = start_nginx(self.folder, self.stack, "{" + " " * (size - 2) + "}")
        comparison = self.postgres
        comparison.sql("comparison", """
            CREATE TABLE events (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "eventId" TEXT NOT NULL, event TEXT NOT NULL,
                "roomSid" TEXT, "rawPayload" JSONB, "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT now());
            CREATE UNIQUE INDEX ON events ("eventId"); CREATE INDEX ON events ("roomSid");""")
        results: dict[tuple, list[dict]] = {}
        for connections in CONNECTIONS:
            for turn in range(self.options.repeats):
                for target in (nginx, self.sqlite, self.pg):
                    say(f"POST, {connections} connections, turn {turn + 1}: {target.name}")
                    got = self.post(target, POSTS[connections], connections, self.options.seconds)
                    results.setdefault(("POST", connections, target.name), []).append(got)
                say(f"POST, {connections} connections, turn {turn + 1}: pgbench")
                results.setdefault(("POST", connections, "pgbench"), []).append(self.pgbench(connections, self.options.seconds))
            for turn in range(self.options.repeats):
                for target in (nginx, self.sqlite, self.pg):
                    say(f"GET outcome, {connections} connections, turn {turn + 1}: {target.name}")
                    got = self.get(target, GETS[connections], connections, paths, self.options.seconds)
                    results.setdefault(("GET outcome", connections, target.name), []).append(got)
        for kind, request in (("post", "POST"), ("get", "GET outcome")):
            for turn in range(self.options.repeats):
                for target in (nginx, self.sqlite, self.pg):
                    say(f"{request}, {WRK_CONNECTIONS} connections by wrk, turn {turn + 1}: {target.name}")
                    got = self.wrk(target, kind, paths, self.options.seconds)
                    results.setdefault((request, f"{WRK_CONNECTIONS} by wrk", target.name), []).append(got)
        for target in (self.sqlite, self.pg):
            for step, events in (("half", 100_000), ("end", 200_000)):
                say(f"{target.name}: up to {events} events")
                deadline = time.monotonic() + FILL_S
                while target.acknowledged < events and time.monotonic() < deadline:
                    self.post(target, 10_000, 64, FILL_S)
                rss[target.name] |= {step: resident_mib(target.pid), step + "_events": target.acknowledged}
        stored = {"sqlite": int(self.sqlite_count()), "postgres": int(comparison.sql("outcomed", "SELECT count(*) FROM livekit_call_events"))}
        return {"results": results, "rss": rss, "stored": stored, "get_bytes": size,
                "acknowledged": {t.name: t.acknowledged for t in (self.sqlite, self.pg)},
                "cut_off": {t.name: t.cut_off for t in (self.sqlite, self.pg)}}

    def sqlite_count(self) -> int:
        import sqlite3
        connection = sqlite3.connect(f"file:{self.sqlite_file}?mode=ro", uri=True)
        try:
            return connection.execute("SELECT count(*) FROM livekit_call_events").fetchone()[0]
        finally:
            connection.close()


# ---- saying it ----

NAMES = {"nginx": "nginx `return 200`", "sqlite": "outcomed, SQLite", "postgres": "outcomed, PostgreSQL", "pgbench": "pgbench, a transaction per event"}


def median(results: list[dict], key: str) -> float:
    return statistics.median(r[key] for r in results)


def table(measured: dict) -> str:
    lines = ["| request | connections | | per second | of nginx | p50 ms | p99 ms | CPU µs/request | refused |", "|---|--:|---|--:|--:|--:|--:|--:|--:|"]
    for (request, connections, name), got in measured["results"].items():
        rate = median(got, "per_second")
        # Turn by turn, so that a burst of somebody else's work falls on both sides.
        ratio = statistics.median(g["per_second"] / n["per_second"] for g, n in zip(
            got, measured["results"][(request, connections, "nginx")], strict=True))
        refused = sum(r["refused"] + r["broken"] for r in got)
        lines.append(f"| {request} | {connections} | {NAMES[name]} | {rate:,.0f} | {ratio:.3f} | {median(got, 'p50_ms'):.2f} | "
                     f"{median(got, 'p99_ms'):.2f} | {median(got, 'cpu_us'):.0f} | {refused} |")
    lines += ["", "| | RSS at start, MiB | halfway | at the end | acknowledged | stored |", "|---|--:|--:|--:|--:|--:|"]
    for name, rss in measured["rss"].items():
        lines.append(f"| {NAMES[name]} | {rss['start']:.1f} | {rss['half']:.1f} after {rss['half_events']:,} | "
                     f"{rss['end']:.1f} after {rss['end_events']:,} | {measured['acknowledged'][name]:,} | {measured['stored'][name]:,} |")
    return "\n".join(lines)


def failures(measured: dict) -> list[str]:
    wrong = []
    for (request, connections, name), got in measured["results"].items():
        refused = sum(r["refused"] + r["broken"] for r in got)
        if refused and name != "pgbench":
            wrong.append(f"{request}, {connections} connections, {name}: {refused} refused or broken")
    for name, stored in measured["stored"].items():
        if not 0 <= stored - measured["acknowledged"][name] <= measured["cut_off"][name]:
            wrong.append(f"{name}: {measured['acknowledged'][name]} acknowledged, {stored} stored")
    return wrong


def machine() -> str:
    cpu = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").open() if line.startswith("model name")), platform.machine())
    memory = int(next(line.split()[1] for line in pathlib.Path("/proc/meminfo").open() if line.startswith("MemTotal"))) / (1 << 20)
    return f"{os.cpu_count()} × {cpu}, {memory:.0f} GiB, Linux {platform.release()}"


def disk_kind(folder: pathlib.Path) -> str:
    done = subprocess.run(["df", "--output=fstype", folder], capture_output=True, text=True, check=False)
    return done.stdout.split()[-1] if done.returncode == 0 else "unknown"


DOCUMENT = """# Benchmarks

What `make bench` measured; `make bench BENCH_ARGS=--write` makes this page anew. The load generator, the servers and PostgreSQL share the
machine, so the ratios say more than the figures. Every POST is a distinct, genuinely signed webhook of about 1 kB, ten to a call, over
keep-alive connections on loopback; a 200 means that it is on disk (SQLite synchronous=FULL, PostgreSQL fsync on). nginx answers the same
requests with a fixed text and keeps nothing. pgbench inserts one event of the same size in a transaction of its own, without signature,
folding or verdict. The runs alternate; the figures are medians of {repeats}, "of nginx" is the median of the ratios turn by turn. CPU counts
all processes of a server, PostgreSQL's included.

The generator is our own (bench/load.c), one thread that does as little as it can; "by wrk" are the same requests sent by wrk with two threads, which
takes more of the two cores for itself, from nginx most of all: a ratio to nginx depends on who sends. Events that were under way when
a run of wrk ended may be stored without having been counted as acknowledged, at most {connections} a run.

{date}, {machine}, files on {disk}.

{table}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures outcomed beside nginx and pgbench.")
    parser.add_argument("--build", default="build-bench", help="folder of a release build with -Dbench=true")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each measurement (median is quoted)")
    parser.add_argument("--seconds", type=int, default=2, help="longest time of one measurement")
    parser.add_argument("--directory", default="/var/tmp", help="where the databases are put: a real disk, or fsync means nothing")
    parser.add_argument("--write", action="store_true", help="put the result into docs/BENCHMARKS.md")
    parser.add_argument("--json", help="also write everything measured to this file")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="outcomed-bench-", dir=options.directory))
    folder.chmod(0o711)
    disk = disk_kind(folder)
    if disk == "tmpfs":
        say(f"warning: {options.directory} is in memory, so fsync costs nothing there; use --directory")
    try:
        with contextlib.ExitStack() as stack:
            measured = Bench(options, folder, stack).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = table(measured)
    print(text)
    if options.json:
        flat = [{"request": r, "connections": c, "name": n, "runs": got} for (r, c, n), got in measured["results"].items()]
        pathlib.Path(options.json).write_text(json.dumps(measured | {"results": flat}, indent=1))
    wrong = failures(measured)
    for line in wrong:
        say("FAILED: " + line)
    if options.write and not wrong:
        (ROOT / "docs/BENCHMARKS.md").write_text(DOCUMENT.format(
            repeats=options.repeats, connections=WRK_CONNECTIONS, date=datetime.date.today().isoformat(), machine=machine(), disk=disk, table=text))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
