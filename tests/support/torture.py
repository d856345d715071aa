"""kill -9 at random moments under load, restart on the same files, again and again; then the books are compared.

The ledger is the sender's: an event id is in it from the moment at which its 200 was read, not before. Afterwards each id in it must be in the
database, none twice, and each call must have come out as the same call does in a run that nobody disturbed. All calls are made from a few
patterns that differ in nothing but their ids, so one quiet call of each pattern is the measure for thousands.

What this shows and what it does not: kill -9 takes the process at any instruction, but the kernel lives on and writes what it was given. That
a 200 waits for the disk itself is what the traces show (support/trace.py)."""

import dataclasses
import json
import pathlib
import random
import re
import signal
import socket
import subprocess
import threading
import time

from support import signing
from support.daemon import SANITIZER_REPORT, Database, environment
from support.process import die_with_parent

SENDERS = 6
TENANT = "user-torture"
STARTED_S = 1_790_000_000  # of all calls, so that they differ in ids alone
START_LIMIT_S = 30
DUPLICATES = 0.1  # of the events are sent again after their 200
KILLED_STARTING = 0.25  # of the lives end before the first answer
LONGEST_LIFE_S = 0.12  # after the first answer


# ---- calls that differ in their ids alone ----

class Pattern:
    """One kind of call; make(number) gives its requests, each (event id or None, request as bytes)."""

    def __init__(self, name: str, outcome: str, steps) -> None:
        self.name, self.outcome, self._steps = name, outcome, steps

    def make(self, number: int) -> "Call":
        call = Call(self, f"n{number:08d}n")
        for step in self._steps:
            step(call)
        return call


class Call:
    def __init__(self, pattern: Pattern, tag: str) -> None:
        self.pattern, self.tag, self.sid = pattern, tag, "RM_" + tag
        self.requests: list[tuple[str | None, bytes]] = []

    def event(self, kind: str, at_s: int, **members) -> None:
        room = {"sid": self.sid, "name": "room_" + self.tag, "creationTime": str(STARTED_S), "creationTimeMs": str(STARTED_S * 1000 + 120),
                "metadata": json.dumps({"user_id": TENANT})}
        event_id = f"EV_{self.tag}_{len(self.requests):02d}"
        body = json.dumps({"event": kind, "room": room, "id": event_id, "createdAt": str(STARTED_S + at_s), **members}).encode()
        self.requests.append((event_id, http_post("/api/webhooks/call_completed", body, signing.sign(body))))

    def mark(self, **members) -> None:
        key = f"key-{self.tag}-{len(self.requests)}"
        body = json.dumps({"roomSid": self.sid, "at": "2026-09-21T14:13:28Z", **members}).encode()
        self.requests.append((None, http_post(f"/api/marks?user_id={TENANT}", body, {"Idempotency-Key": key})))

    def sip(self, status: str, **members) -> dict:
        return {"sid": "PA_S" + self.tag, "identity": "sip_" + self.tag, "state": "ACTIVE", "kind": "SIP", "joinedAt": str(STARTED_S + 1),
                "attributes": {"sip.callID": "SCL_" + self.tag, "sip.callStatus": status, "sip.trunkID": "ST_trunk"}, **members}

    def agent(self, **members) -> dict:
        return {"sid": "PA_A" + self.tag, "identity": "agent-" + self.tag, "state": "ACTIVE", "kind": "AGENT", "joinedAt": str(STARTED_S), **members}


def http_post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _answered(call: Call) -> None:
    tagged = call.sip("hangup", state="DISCONNECTED", disconnectReason="CLIENT_INITIATED")
    tagged["attributes"]["sip.callTag"] = "tag-" + call.tag
    call.event("room_started", 0)
    call.event("participant_joined", 0, participant=call.agent())
    call.event("participant_joined", 1, participant=call.sip("dialing"))
    call.event("participant_left", 9, participant=tagged)
    call.event("participant_left", 10, participant=call.agent(state="DISCONNECTED", disconnectReason="ROOM_CLOSED"))
    call.event("room_finished", 11)


def _rejected(call: Call) -> None:
    call.event("room_started", 0)
    call.event("participant_joined", 1, participant=call.sip("dialing"))
    call.event("participant_left", 8, participant=call.sip("ringing", state="DISCONNECTED", disconnectReason="USER_REJECTED"))
    call.event("room_finished", 10)


def _unanswered(call: Call) -> None:
    call.event("room_started", 0)
    call.event("participant_joined", 1, participant=call.sip("dialing"))
    call.event("participant_left", 40, participant=call.sip("ringing", state="DISCONNECTED", disconnectReason="USER_UNAVAILABLE"))
    call.event("room_finished", 42)


def _busy_by_mark(call: Call) -> None:
    call.mark(kind="sip_result", source="dialer", sipCode=486)


PATTERNS = (Pattern("answered", "completed", [_answered]), Pattern("rejected", "busy", [_rejected]),
            Pattern("unanswered", "no_answer", [_unanswered]), Pattern("busy_by_mark", "busy", [_rejected, _busy_by_mark]))


# ---- one connection of a sender ----

class Connection:
    """HTTP over the daemon's Unix socket. `ask` gives (status, body), or None where nobody was there or the answer was cut off; `sent` says which."""

    def __init__(self, path: str) -> None:
        self._path, self.sent = path, False
        self._socket: socket.socket | None = None

    def ask(self, request: bytes, timeout_s: float = 20) -> tuple[int, bytes] | None:
        self.sent = False
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.settimeout(timeout_s)
                self._socket.connect(self._path)
            self.sent = True
            self._socket.sendall(request)
            got = b""
            while b"\r\n\r\n" not in got:
                got += self._more()
            head, _, body = got.partition(b"\r\n\r\n")
            length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1])
            while len(body) < length:
                body += self._more()
            if re.search(rb"(?i)\r\nconnection: close", head):
                self.close()
            return int(head[9:12]), body
        except OSError:
            self.close()
            return None

    def _more(self) -> bytes:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError
        return data

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


# ---- the ledger and its senders ----

class Ledger:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.acknowledged: set[str] = set()
        self.calls: list[Call] = []  # whole: each event was acknowledged; their requests are dropped
        self.answers: dict[int, int] = {}
        self.broken = 0  # requests that a kill left without an answer
        self.in_flight = 0
        self.first_answer = threading.Event()  # of this life

    def begin(self) -> None:
        with self._lock:
            self.in_flight += 1

    def end(self, status: int | None, event_id: str | None, sent: bool = True) -> None:
        with self._lock:
            self.in_flight -= 1
            if status is None:
                self.broken += sent
                return
            self.answers[status] = self.answers.get(status, 0) + 1
            if status == 200:
                self.acknowledged.add(event_id)
        self.first_answer.set()

    def whole(self, call: Call) -> None:
        call.requests = []
        with self._lock:
            self.calls.append(call)


class Senders:
    """Each sends one call after the other, as LiveKit does: the next event of a room when the last one was taken, again until it is."""

    def __init__(self, ledger: Ledger, path: str, seed: int, count: int = SENDERS) -> None:
        self._ledger, self._path = ledger, path
        self._stop, self._abandon = threading.Event(), threading.Event()
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(i, random.Random(f"{seed}-{i}"))) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, index: int, chance: random.Random) -> None:
        connection = Connection(self._path)
        try:
            number = index
            while not self._stop.is_set():
                call = chance.choice(PATTERNS).make(number)
                for event_id, request in call.requests:
                    self._until_taken(connection, event_id, request)
                    if chance.random() < DUPLICATES:
                        self._until_taken(connection, event_id, request)
                self._ledger.whole(call)
                number += SENDERS
        except Exception as problem:  # shown by stop()
            self.failures.append(repr(problem))
        finally:
            connection.close()

    def _until_taken(self, connection: Connection, event_id: str | None, request: bytes) -> None:
        deadline = time.monotonic() + 2 * START_LIMIT_S
        while True:
            self._ledger.begin()
            answer = connection.ask(request)
            status = answer[0] if answer else None
            taken = json.loads(answer[1])["event_id"] if status == 200 else None
            self._ledger.end(status, taken, connection.sent)
            if status == 200:
                if event_id is not None and taken != event_id:
                    raise AssertionError(f"{event_id} was answered as {taken}")
                return
            if status not in (None, 503):
                raise AssertionError(f"{event_id} was answered with {answer}")
            if self._abandon.is_set() or time.monotonic() > deadline:
                raise AssertionError(f"{event_id} was not taken in {2 * START_LIMIT_S} s: {answer}")
            time.sleep(0.005)

    def abandon(self) -> None:
        self._abandon.set()
        self._stop.set()

    def stop(self) -> None:
        """Each finishes its call."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self.failures == []


# ---- lives of the daemon ----

class Lives:
    """One after the other, on the same files. Without a spool unless `env` or a life's arguments name one."""

    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, env: dict[str, str] | None = None, under: tuple[str, ...] = ()) -> None:
        self.binary, self.folder, self.under = binary, folder, under
        self.env = environment({"OUTCOMED_SPOOL": "none"} | (env or {}))
        self.socket = str(folder / "s")
        self.log_path = folder / "stderr.log"
        self.process: subprocess.Popen | None = None
        self.count = 0

    def begin(self, url: str, *args: str) -> None:
        self.count += 1
        with self.log_path.open("wb") as log:  # of the last life only
            self.process = subprocess.Popen([*self.under, self.binary, "serve", "--listen", f"unix:{self.socket}", "--database", url, *args], cwd=self.folder,
                                            env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent())

    def check_alive(self) -> None:
        code = self.process.poll()
        if code is not None:
            raise AssertionError(f"outcomed ended with {code} in its life {self.count}:\n{self.log()[-4000:]}")

    def kill(self) -> None:
        self.check_alive()
        self.process.kill()
        self.process.wait()
        assert SANITIZER_REPORT.search(self.log()) is None, self.log()[-6000:]

    def end(self) -> None:
        """SIGTERM; must exit with 0."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        assert code == 0, f"exit code {code}:\n{self.log()[-4000:]}"
        assert SANITIZER_REPORT.search(self.log()) is None, self.log()[-6000:]

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def get(self, path: str) -> tuple[int, bytes] | None:
        connection = Connection(self.socket)
        answer = connection.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.close()
        return answer

    def wait_ready(self) -> None:
        """Until it takes webhooks, into the database or into the spool."""
        deadline = time.monotonic() + START_LIMIT_S
        while (answer := self.get("/readyz")) is None or answer[0] != 200:
            self.check_alive()
            assert time.monotonic() < deadline, f"not ready: {answer}\n{self.log()[-4000:]}"
            time.sleep(0.01)

    def wait_drained(self) -> None:
        """Until nothing waits in the spool."""
        deadline = time.monotonic() + START_LIMIT_S
        while (answer := self.get("/metrics")) is None or not re.search(rb"^outcomed_spool_events 0$", answer[1], re.MULTILINE):
            self.check_alive()
            assert time.monotonic() < deadline, f"not drained:\n{self.log()[-4000:]}"
            time.sleep(0.02)


# ---- the books ----

# Of what is kept of a call, what does not depend on the moment at which an event came.
FACTS = """SELECT "roomSid", facts, rules, outcome, verdict FROM call_facts"""
ROWS = """SELECT "livekitRoomSid", "userId", "livekitRoomName", direction, "phoneNumber", "sipCallId", duration, CAST("startedAt" AS TEXT),
 CAST("endedAt" AS TEXT), status, outcome FROM call_logs"""


def normal(row: tuple, sid: str) -> tuple:
    """The row without the call's tag, ids made by the daemon, and the moments at which it took something in."""
    text = [(json.dumps(v) if isinstance(v, dict) else str(v)).replace(sid.removeprefix("RM_"), "#") for v in row]
    return tuple(re.sub(rf"MK_[0-9A-Za-z_-]+|\b(?!{STARTED_S // 1000})\d{{13}}\b", "@", t) for t in text)


def results(database: Database) -> dict[str, list[tuple]]:
    """By room SID, all that was concluded, without ids."""
    found: dict[str, list[tuple]] = {}
    for sql in (FACTS, ROWS):
        for row in database.query(sql):
            found.setdefault(row[0], []).append(normal(row, row[0]))
    return found


@dataclasses.dataclass
class Books:
    acknowledged: int
    stored: int
    missing: list[str]
    twice: list[str]
    unknown_rooms: list[str]
    wrong_calls: list[str]
    integrity: list[str]

    def clean(self) -> bool:
        return not (self.missing or self.twice or self.unknown_rooms or self.wrong_calls or self.integrity)


def compare(database: Database, ledger: Ledger, measure: dict[str, list[tuple]]) -> Books:
    """`measure`: what each pattern's call comes out as, by the pattern's name."""
    table = "livekit_call_events NOT INDEXED" if database.kind == "sqlite" else "livekit_call_events"
    ids = [row[0] for row in database.query(f'SELECT "eventId" FROM {table}')]
    seen: set[str] = set()
    twice = [i for i in ids if i in seen or seen.add(i)]
    found = results(database)
    wrong = [f"{call.sid} ({call.pattern.name}): {found.get(call.sid)}" for call in ledger.calls
             if found.get(call.sid) != measure[call.pattern.name]]
    integrity = []
    if database.kind == "sqlite":
        integrity = [row[0] for row in database.query("PRAGMA integrity_check") if row[0] != "ok"]
    known = {call.sid for call in ledger.calls}
    return Books(len(ledger.acknowledged), len(ids), sorted(ledger.acknowledged - seen), twice, sorted(found.keys() - known), wrong, integrity)


def undisturbed(lives: Lives, database: Database, *args: str) -> dict[str, list[tuple]]:
    """One call of each pattern in peace."""
    ledger = Ledger()
    lives.begin(database.url, *args)
    lives.wait_ready()
    connection = Connection(lives.socket)
    for number, pattern in enumerate(PATTERNS):
        call = pattern.make(number)
        for event_id, request in call.requests:
            status, body = connection.ask(request)
            assert status == 200, body
            ledger.begin()
            ledger.end(status, json.loads(body)["event_id"])
        ledger.whole(call)
    connection.close()
    wait_judged(database, ledger)
    lives.end()
    found = results(database)
    for call in ledger.calls:
        assert found[call.sid][1][-1] == call.pattern.outcome, found[call.sid]
    return {call.pattern.name: found[call.sid] for call in ledger.calls}


def wait_judged(database: Database, ledger: Ledger, timeout_s: float = 60) -> None:
    """Until every call that is whole has its verdict: the sweeper may owe some."""
    deadline = time.monotonic() + timeout_s
    while (open_calls := database.count("call_facts", "outcome IS NULL")) or database.count("call_facts") < len(ledger.calls):
        assert time.monotonic() < deadline, f"{open_calls} calls have no verdict"
        time.sleep(0.1)


# ---- the torture ----

@dataclasses.dataclass
class Report:
    mode: str
    seed: int
    kills: int
    while_starting: int
    with_requests: int
    answers: dict[int, int]
    broken: int
    seconds: float
    books: Books

    def __str__(self) -> str:
        b = self.books
        return (f"{self.mode}: {self.kills} kill -9 in {self.seconds:.0f} s (seed {self.seed}; {self.while_starting} while starting, {self.with_requests} "
                f"with requests in flight, {self.broken} requests cut off): {b.acknowledged} acknowledged, {b.stored} stored, missing "
                f"{len(b.missing)}, stored twice {len(b.twice)}, calls that came out otherwise {len(b.wrong_calls)}, answers {self.answers}")


class Torture:
    """Kills until `kills` are done. `url_of(life)` and `args` say how each life begins; `settle` runs in the last one, before the books."""

    def __init__(self, mode: str, binary: pathlib.Path, folder: pathlib.Path, database: Database, seed: int, args: tuple[str, ...] = (),
                 settle=None, progress=None) -> None:
        self.mode, self.seed, self.database = mode, seed, database
        self.lives, self.ledger = Lives(binary, folder), Ledger()
        self.url_of, self._args, self._settle = (lambda life: database.url), args, settle or (lambda lives: None)
        self._chance, self._progress = random.Random(seed), progress or (lambda text: None)
        self._start_s = 0.2  # until the first answer, as it was lately

    def run(self, kills: int, measure: dict[str, list[tuple]]) -> Report:
        began, while_starting, with_requests = time.monotonic(), 0, 0
        senders = Senders(self.ledger, self.lives.socket, self.seed)
        try:
            for number in range(kills):
                starting = self._one_life(number)
                while_starting += starting
                with_requests += self.ledger.in_flight > 0 and not starting
                self.lives.kill()
                if (number + 1) % 100 == 0:
                    self._progress(f"{self.mode}: {number + 1} kills, {len(self.ledger.acknowledged)} acknowledged, {time.monotonic() - began:.0f} s")
            self.lives.begin(self.database.url, *self._args)
            senders.stop()
        except BaseException:
            senders.abandon()
            raise
        self.lives.wait_ready()
        self._settle(self.lives)
        wait_judged(self.database, self.ledger)
        self.lives.end()
        return Report(self.mode, self.seed, kills, while_starting, with_requests, self.ledger.answers, self.ledger.broken,
                      time.monotonic() - began, compare(self.database, self.ledger, measure))

    def _one_life(self, number: int) -> bool:
        """Until the moment of its death; True where that came before its first answer."""
        self.ledger.first_answer.clear()
        self.lives.begin(self.url_of(number), *self._args)
        began = time.monotonic()
        if self._chance.random() < KILLED_STARTING:
            time.sleep(self._chance.uniform(0, 1.2 * self._start_s))
            return not self.ledger.first_answer.is_set()
        while not self.ledger.first_answer.wait(0.5):
            self.lives.check_alive()
            assert time.monotonic() - began < START_LIMIT_S, f"no answer in {START_LIMIT_S} s:\n{self.lives.log()[-4000:]}"
        self._start_s = 0.8 * self._start_s + 0.2 * (time.monotonic() - began)
        time.sleep(self._chance.uniform(0, LONGEST_LIFE_S))
        return False
