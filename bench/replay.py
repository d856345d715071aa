"""`outcomed replay` over a store filled by all captures again and again, each time with other ids, while a daemon serves: are the rows the same
afterwards, how much memory did it take, did it show its progress, and how long did a webhook wait meanwhile?

Then some calls are damaged and it is run once more, which writes. Both stores; exit code 0 when all of that holds."""

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

from bench import KEY, ROOT, SECRET, Postgres, Target, say, start_outcomed

CHUNK_EVENTS = 20_000
FILL_CONNECTIONS = 64
LOAD_CONNECTIONS = 16
MOST_RSS_MIB = 100
MOST_P99_MS = 100
TABLES = {"call_facts": '"roomSid"', "call_logs": '"livekitRoomSid"', "call_legs": '"roomSid"', "call_revisions": '"roomSid"',
          "livekit_call_events": '"roomSid"'}
IDS = re.compile(r"\b((?:RM|EV|PA|TR|SCL|EG|NE|ND|DR)_[A-Za-z0-9]+)")


# ---- filling ----

def captures() -> list[tuple[str, str]]:
    """(room name, body) of every recorded delivery."""
    found = []
    for path in sorted((ROOT / "tests/captures").glob("*.jsonl")):
        if path.name.endswith(".polls.jsonl"):
            continue
        for line in path.read_text().splitlines()[1:]:
            body = json.loads(line)["body"]
            event = json.loads(body)
            name = event.get("room", {}).get("name") or event.get("egressInfo", {}).get("roomName") or ""
            found.append((name, body))
    return found


def with_other_ids(name: str, body: str, turn: int) -> str:
    body = IDS.sub(rf"\1x{turn}", body)
    return body.replace(json.dumps(name), json.dumps(f"{name}-{turn}")) if name else body


def fill(build: pathlib.Path, folder: pathlib.Path, target: Target, events: int) -> int:
    """Posts the captures, turn by turn; each is sent in the recorded order, several connections at a time."""
    recorded = captures()
    turns, sent, turn = max(1, CHUNK_EVENTS // len(recorded)), 0, 0
    path = folder / "fill.jsonl"
    env = {"PATH": os.environ["PATH"], "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
    begun = time.monotonic()
    while sent < events:
        lines = []
        for _ in range(turns):
            lines += [with_other_ids(name, body, turn) for name, body in recorded]
            turn += 1
            if sent + len(lines) >= events:
                break
        path.write_text("\n".join(lines) + "\n")
        done = subprocess.run([build / "outcomed", "send", "--url", f"http://127.0.0.1:{target.port}/api/webhooks/call_completed", "--retry",
                               "--concurrency", str(FILL_CONNECTIONS), path], env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{target.name}: filling failed: {done.stdout} {done.stderr[-2000:]}")
        sent += len(lines)
        say(f"{target.name}: {sent} events, {sent / (time.monotonic() - begun):,.0f}/s")
    path.unlink()
    return sent


# ---- looking into the stores ----

class Sqlite:
    def __init__(self, path: pathlib.Path) -> None:
        self.path, self.url = path, f"sqlite:{path}"

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60)

    def number(self, sql: str) -> int:
        with contextlib.closing(self.connect()) as c:
            return c.execute(sql).fetchone()[0]

    def execute(self, sql: str) -> None:
        with contextlib.closing(self.connect()) as c:
            c.execute(sql)
            c.commit()

    def digest(self, table: str, where: str) -> str:
        hashed = hashlib.sha256()
        with contextlib.closing(self.connect()) as c:
            for row in c.execute(f"SELECT * FROM {table} WHERE {where} ORDER BY 1, 2"):
                hashed.update(repr(row).encode())
        return hashed.hexdigest()


class PostgresStore:
    def __init__(self, server: Postgres, database: str) -> None:
        self.server, self.database, self.url = server, database, server.url(database)

    def number(self, sql: str) -> int:
        return int(self.server.sql(self.database, sql))

    def execute(self, sql: str) -> None:
        self.server.sql(self.database, sql)

    def digest(self, table: str, where: str) -> str:
        command = [self.server.programs / "psql", "-h", "127.0.0.1", "-p", str(self.server.port), "-U", "postgres", "-d", self.database, "-XAtq",
                   "-v", "ON_ERROR_STOP=1", "-c", f"COPY (SELECT x::text FROM {table} x WHERE {where} ORDER BY 1) TO STDOUT"]
        hashed = hashlib.sha256()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            while block := process.stdout.read(1 << 20):
                hashed.update(block)
        if process.returncode:
            raise SystemExit("psql failed")
        return hashed.hexdigest()


def digests(store) -> dict[str, str]:
    """Of every table, without the calls that the load brings."""
    return {table: store.digest(table, f"({sid} IS NULL OR {sid} NOT LIKE 'RM_bench%')") for table, sid in TABLES.items()}


# ---- a replay under load ----

class Load:
    """Posts webhooks of calls of its own until it is told to stop."""

    def __init__(self, build: pathlib.Path, target: Target, first_call: int) -> None:
        self.build, self.target, self.next_call = build, target, first_call
        self.runs: list[dict] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        while not self.stopping.is_set():
            env = dict(os.environ) | {"LOAD_FIRST_CALL": str(self.next_call), "LOAD_SECONDS": "5", "LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}
            done = subprocess.run([self.build / "bench/load", "post", f"127.0.0.1:{self.target.port}", "40000", str(LOAD_CONNECTIONS)], env=env,
                                  capture_output=True, text=True, check=False)
            self.runs.append(json.loads(done.stdout))
            self.next_call += 4000

    def __enter__(self) -> "Load":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join()


def peak_mib(pid: int) -> float:
    """The largest resident size so far; ru_maxrss would also count what Python had before the program began."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def replay(build: pathlib.Path, store, *arguments: str) -> dict:
    begun = time.monotonic()
    process = subprocess.Popen([build / "outcomed", "replay", "--database", store.url, "--show", "3", *arguments], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]})
    progress: list[str] = []
    reader = threading.Thread(target=lambda: progress.extend(process.stderr))
    reader.start()
    out: list[str] = []
    listener = threading.Thread(target=lambda: out.extend(process.stdout))
    listener.start()
    peak = 0.0
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        peak = max(peak, peak_mib(process.pid))
        time.sleep(0.05)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    reader.join()
    listener.join()
    said = re.search(r"(\d+) calls and (\d+) events read in [\d.]+ s: (\d+) calls changed, (\d+) left alone", "".join(out))
    if not said:
        raise SystemExit(f"replay said nothing: {out} {''.join(progress)[-2000:]}")
    return {"exit": process.returncode, "seconds": round(time.monotonic() - begun, 1), "rss_mib": peak,
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1), "calls": int(said[1]), "events": int(said[2]), "changed": int(said[3]),
            "left_alone": int(said[4]), "progress_lines": sum(line.startswith("replay: ") for line in progress)}


def replay_under_load(build: pathlib.Path, store, target: Target, first_call: int) -> tuple[dict, int]:
    with Load(build, target, first_call) as load:
        time.sleep(1)
        result = replay(build, store)
    result |= {"p99_ms": max(r["p99_ms"] for r in load.runs), "slowest_ms": max(r["max_ms"] for r in load.runs),
               "posted": sum(r["ok"] for r in load.runs), "refused": sum(r["refused"] + r["broken"] for r in load.runs)}
    return result, load.next_call


def measure(build: pathlib.Path, folder: pathlib.Path, store, target: Target, events: int) -> tuple[list[dict], list[str]]:
    wrong: list[str] = []

    def must(holds: bool, what: str) -> None:
        if not holds:
            wrong.append(f"{target.name}: {what}")

    fill(build, folder, target, events)
    time.sleep(8)  # the sweeper ends the calls whose time has come
    calls, before = store.number("SELECT count(*) FROM call_facts"), digests(store)
    say(f"{target.name}: {calls} calls; replay beside {LOAD_CONNECTIONS} busy connections")
    same, next_call = replay_under_load(build, store, target, 1)
    must(digests(store) == before, "the rows are not what they were")
    must(same["changed"] == 0 and same["left_alone"] == 0 and same["exit"] == 0, f"{same['changed']} calls changed, {same['left_alone']} left alone")
    say(f"{target.name}: {same}")
    store.execute("UPDATE call_facts SET facts = 'damaged' WHERE \"roomSid\" LIKE '%x7' AND \"roomSid\" NOT LIKE 'RM_bench%'")
    damaged = store.number("SELECT count(*) FROM call_facts WHERE facts = 'damaged'")
    mended, _ = replay_under_load(build, store, target, next_call)
    must(mended["changed"] == damaged, f"{mended['changed']} of {damaged} damaged calls were mended")
    facts = "SELECT count(*) FROM call_facts WHERE facts = 'damaged'"
    must(store.number(facts) == 0, "damaged calls are left")
    say(f"{target.name}: {mended}")
    for result in (same, mended):
        must(result["rss_mib"] < MOST_RSS_MIB, f"{result['rss_mib']} MiB")
        must(result["p99_ms"] < MOST_P99_MS, f"webhooks waited for {result['p99_ms']} ms (p99)")
        must(result["refused"] == 0, f"{result['refused']} webhooks were refused")
        must(result["progress_lines"] >= (2 if result["seconds"] > 12 else 1), "no progress was shown")
    return [{"store": target.name, "what": "nothing to change", **same}, {"store": target.name, "what": f"{damaged} calls to mend", **mended}], wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures outcomed replay over many events while a daemon serves.")
    parser.add_argument("--build", default="build-bench", help="folder of a release build with -Dbench=true")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--stores", default="sqlite,postgres")
    parser.add_argument("--directory", default="/var/tmp", help="where the databases are put: a real disk")
    options = parser.parse_args()
    build = pathlib.Path(options.build).resolve()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="outcomed-replay-", dir=options.directory))
    folder.chmod(0o711)
    rows, wrong = [], []
    try:
        for kind in options.stores.split(","):
            with contextlib.ExitStack() as stack:
                if kind == "sqlite":
                    store, more = Sqlite(folder / "outcomed.db"), []
                else:
                    server = Postgres(folder, stack)
                    server.sql("postgres", "CREATE DATABASE outcomed")
                    store, more = PostgresStore(server, "outcomed"), [server.process.pid]
                target = start_outcomed(kind, build, folder, stack, store.url, more)
                measured, failed = measure(build, folder, store, target, options.events)
                rows += measured
                wrong += failed
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("| store | | calls | events | seconds | CPU s | peak RSS, MiB | webhooks meanwhile | p99 ms | slowest ms |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for r in rows:
        print(f"| {r['store']} | {r['what']} | {r['calls']:,} | {r['events']:,} | {r['seconds']} | {r['cpu_seconds']} | {r['rss_mib']} | {r['posted']:,} | "
              f"{r['p99_ms']:.1f} | {r['slowest_ms']:.1f} |")
    for line in wrong:
        say("FAILED: " + line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
