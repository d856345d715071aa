"""A running outcomed on a free loopback port, asked over plain HTTP/1.1, and its database looked into directly."""

import dataclasses
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import time

import psycopg

from support import signing
from support.process import die_with_parent, pass_sockets

SANITIZER_REPORT = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread)Sanitizer|runtime error:|SUMMARY: .*Sanitizer")
WEBHOOK = "/api/webhooks/call_completed"
START_S = 30
STOP_S = 20


@dataclasses.dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self):
        return json.loads(self.body)


class Database:
    """A database of one test. `query` gives rows as tuples and works on both stores (columns are quoted alike)."""

    def __init__(self, kind: str, url: str) -> None:
        self.kind, self.url = kind, url

    def query(self, sql: str, *arguments) -> list[tuple]:
        if self.kind == "sqlite":
            connection = sqlite3.connect(self.url.removeprefix("sqlite:"), timeout=10)
            try:
                rows = connection.execute(sql, arguments).fetchall()
                connection.commit()
                return rows
            finally:
                connection.close()
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql.replace("?", "%s"), arguments)
            return cursor.fetchall() if cursor.description else []

    def count(self, table: str, where: str = "1 = 1", *arguments) -> int:
        return self.query(f"SELECT count(*) FROM {table} WHERE {where}", *arguments)[0][0]

    def event_ids(self) -> set[str]:
        return {row[0] for row in self.query('SELECT "eventId" FROM livekit_call_events')}


def environment(extra: dict[str, str] | None = None, keys: bool = True) -> dict[str, str]:
    """Nothing of the caller's configuration leaks in. A value of None in `extra` removes a name."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TZ": "Pacific/Auckland",
           "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    if "TSAN_OPTIONS" in os.environ:  # scripts/tsan.sh
        env["TSAN_OPTIONS"] = os.environ["TSAN_OPTIONS"]
    if keys:
        env |= {"LIVEKIT_API_KEY": signing.KEY, "LIVEKIT_API_SECRET": signing.SECRET}
    for name, value in (extra or {}).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


class Daemon:
    def __init__(self, binary: pathlib.Path, folder: pathlib.Path, database: Database, args: tuple[str, ...] = (),
                 env: dict[str, str] | None = None, listen: str = "127.0.0.1:0") -> None:
        self.binary, self.folder, self.database = binary, folder, database
        self.args, self.env, self.listen = args, environment(env), listen
        self.log_path = folder / "stderr.log"
        self.inherited: tuple[socket.socket, ...] = ()  # listening sockets passed on as a service manager does
        self.process: subprocess.Popen | None = None
        self.port = 0
        self.expect_exit: int | None = 0  # None: killed on purpose

    # ---- life ----

    def start(self, wait_ready: bool = True) -> "Daemon":
        command = [self.binary, "serve", "--listen", self.listen, "--database", self.database.url, *self.args]
        if self.database.kind == "postgres" and "--migrate" not in command:
            command.append("--migrate")
        at = self.log_path.stat().st_size if self.log_path.exists() else 0
        env, prepare = self.env, die_with_parent()
        if self.inherited:
            command, env = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command], env | {"LISTEN_FDS": str(len(self.inherited))}
            prepare = pass_sockets(self.inherited, prepare)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=prepare, close_fds=not self.inherited)
        self.expect_exit = 0
        deadline = time.monotonic() + START_S
        self.port = self._find_port(at, deadline)
        while wait_ready:
            try:
                if self.get("/readyz").json()["status"] == "ready":
                    break
            except OSError:
                pass
            self._still_starting(deadline, "not ready")
        return self

    def _find_port(self, at: int, deadline: float) -> int:
        while True:
            with self.log_path.open("rb") as log:
                log.seek(at)
                found = re.search(r"address=(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)", log.read().decode(errors="replace"))
            if found and found[1] != "0":
                return int(found[1])
            self._still_starting(deadline, "said no address")

    def _still_starting(self, deadline: float, what: str) -> None:
        code = self.process.poll()
        if code is not None:
            self.expect_exit = None
            raise AssertionError(f"outcomed ended with {code} at start:\n{self.log()}")
        if time.monotonic() > deadline:
            raise AssertionError(f"outcomed {what} after {START_S} s:\n{self.log()}")
        time.sleep(0.02)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)

    def kill(self) -> None:
        """kill -9: what a power cut would be to the process."""
        self.expect_exit = None
        self.process.kill()
        self.process.wait(STOP_S)

    def finish(self) -> None:
        """Ends it if it still runs; fails on a wrong exit code or a sanitizer's report."""
        if self.process is None:
            return
        try:
            if self.process.poll() is None:
                self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_S)
            raise AssertionError(f"outcomed did not end within {STOP_S} s of SIGTERM:\n{self.log()[-6000:]}") from None
        log = self.log()
        report = SANITIZER_REPORT.search(log)
        assert report is None, "a sanitizer's report:\n" + log[max(0, report.start() - 500):report.start() + 6000]
        if self.expect_exit is not None:
            assert self.process.returncode == self.expect_exit, f"exit code {self.process.returncode}:\n{log[-6000:]}"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, text: str, timeout_s: float = 10) -> str:
        deadline = time.monotonic() + timeout_s
        while text not in self.log():
            assert time.monotonic() < deadline, f"no {text!r} in the log:\n{self.log()[-4000:]}"
            time.sleep(0.02)
        return self.log()

    # ---- HTTP ----

    def connect(self, timeout_s: float = 30) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None,
                connection: http.client.HTTPConnection | None = None) -> Response:
        own = connection is None
        connection = connection or self.connect()
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            return Response(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            if own:
                connection.close()

    def get(self, path: str, headers: dict[str, str] | None = None) -> Response:
        return self.request("GET", path, headers=headers)

    def raw(self, data: bytes, timeout_s: float = 10) -> bytes:
        """Sends bytes as they are and reads until the other side closes or is silent for timeout_s."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as s:
            s.sendall(data)
            got = b""
            try:
                while chunk := s.recv(65536):
                    got += chunk
            except (TimeoutError, ConnectionResetError):
                pass
            return got

    def post(self, body: bytes, headers: dict[str, str] | None = None,
             connection: http.client.HTTPConnection | None = None) -> Response:
        """A webhook; signed as LiveKit signs unless headers are given."""
        return self.request("POST", WEBHOOK, body, signing.sign(body) if headers is None else headers, connection)

    def post_event(self, event: dict, connection: http.client.HTTPConnection | None = None) -> Response:
        return self.post(json.dumps(event, separators=(",", ":")).encode(), connection=connection)

    def outcome(self, call_id: str, user_id: str | None, headers: dict[str, str] | None = None) -> Response:
        query = "" if user_id is None else f"?user_id={user_id}"
        return self.get(f"/api/calls/{call_id}/outcome{query}", headers)

    def wait_outcome(self, call_id: str, user_id: str, timeout_s: float = 10) -> dict:
        """The outcome, once there is one (the sweeper looks every second)."""
        deadline = time.monotonic() + timeout_s
        while True:
            reply = self.outcome(call_id, user_id)
            if reply.status == 200 and reply.json()["outcome"] is not None:
                return reply.json()
            assert time.monotonic() < deadline, f"no outcome of {call_id}: {reply.status} {reply.body!r}"
            time.sleep(0.05)

    def metrics(self) -> dict[str, float]:
        """The metrics page as {'name{label="value"}': number}."""
        rows = (line.rsplit(" ", 1) for line in self.get("/metrics").body.decode().splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in rows}

    def resident_kib(self) -> int:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])
