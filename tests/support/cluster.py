"""A PostgreSQL server of a test's own, which may be stopped, killed, frozen, restarted, and given a standby. Loopback only, gone at the end."""

import contextlib
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse

import psycopg

from support.postgres import free_port, programs
from support.process import die_with_parent

START_S = 60


def _as_user() -> dict:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    owner = pwd.getpwnam("postgres")
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


class Cluster:
    """`start()` makes and starts it. What is signalled are the postmaster that we started and its children, found by their parent."""

    def __init__(self, **settings: str) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="outcomed-cluster-"))
        self.password, self.port = secrets.token_hex(16), free_port()
        self.settings = settings
        self._process: subprocess.Popen | None = None
        self._frozen: list[int] = []
        self.own(self.folder)

    def own(self, path: pathlib.Path) -> None:
        as_user = _as_user()
        if as_user:
            os.chown(path, as_user["user"], as_user["group"])

    def _program(self, name: str, *arguments, **options) -> None:
        subprocess.run([programs() / name, *map(str, arguments)], check=True, capture_output=True, cwd=self.folder, **_as_user(), **options)

    # ---- life ----

    def start(self) -> "Cluster":
        secret = self.folder / "password"
        secret.write_text(self.password)
        self.own(secret)
        self._program("initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8",
                      "--no-instructions", "--no-sync", "--pwfile", secret)
        self.launch()
        return self

    def launch(self, wait: bool = True) -> None:
        # fsync: what is taken away here are processes, and the kernel lives on.
        settings = {"fsync": "off", "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.folder), "shared_buffers": "64MB", "max_connections": "60",
                    "logging_collector": "off", **self.settings}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", self.folder / "data", "-p", str(self.port), *(word for k, v in settings.items() for word in ("-c", f"{k}={v}"))],
                stdout=log, stderr=log, cwd=self.folder, preexec_fn=die_with_parent(signal.SIGQUIT), **_as_user())
        if wait:
            self.wait_up()

    def wait_up(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("PostgreSQL did not start:\n" + self.log()[-3000:]) from None
                time.sleep(0.05)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast shutdown, SIGQUIT an immediate one: as if the power had gone."""
        self._process.send_signal(number)
        self._process.wait(60)

    def kill(self) -> None:
        """kill -9 of the postmaster and all of its processes."""
        everybody = self._everybody()
        self._process.kill()
        self._process.wait()
        for pid in everybody[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while any(_is_alive(pid) for pid in everybody[1:]):
            assert time.monotonic() < deadline, "processes of PostgreSQL are left"
            time.sleep(0.02)
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "data" / "postmaster.pid").unlink()

    def _everybody(self) -> list[int]:
        pid = self._process.pid
        try:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            children = []
        return [pid, *map(int, children)]

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and are taken by the kernel, nothing is answered."""
        os.kill(self._process.pid, signal.SIGSTOP)
        self._frozen = self._everybody()
        for pid in self._frozen[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in reversed(self._frozen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._frozen = []

    def revive(self) -> None:
        """Up and running, whatever a test left it in."""
        self.thaw()
        if self._process.poll() is not None:
            self.launch()

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- its databases ----

    def url(self, database: str, *others: "Cluster", user: str = "postgres", password: str | None = None, **parameters: str) -> str:
        """A URL with several hosts where others are given."""
        hosts = ",".join(f"127.0.0.1:{c.port}" for c in (self, *others))
        query = "?" + urllib.parse.urlencode(parameters) if parameters else ""
        return f"postgresql://{user}:{password or self.password}@{hosts}/{database}{query}"

    def run(self, sql: str, database: str = "postgres") -> list[tuple]:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def create(self) -> str:
        """An empty database; it goes with the server (to drop one takes a checkpoint)."""
        name = "outcomed_test_" + secrets.token_hex(6)
        self.run(f'CREATE DATABASE "{name}"')
        return name

    def drop(self, name: str) -> None:
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def cut_sessions(self, where: str = "application_name = 'outcomed'") -> int:
        """pg_terminate_backend; gives how many."""
        return len(self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {where}"))

    # ---- replication ----

    def standby(self, **settings: str) -> "Cluster":
        """A streaming standby, started; commits here wait for it from now on."""
        other = Cluster(**{**self.settings, **settings})
        other.password = self.password
        self._program("pg_basebackup", "-d", self.url("postgres") + "?application_name=standby", "-D", other.folder / "data", "-R", "-X", "stream",
                      "--checkpoint=fast", "--no-sync")
        for path in (other.folder / "data" / "postgresql.auto.conf",):
            assert "primary_conninfo" in path.read_text()
        other.launch()
        self.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.run("SELECT pg_reload_conf()")
        deadline = time.monotonic() + START_S
        while not self.run("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"):
            assert time.monotonic() < deadline, "the standby does not follow:\n" + other.log()[-3000:]
            time.sleep(0.05)
        return other

    def promote(self) -> None:
        self.run("ALTER SYSTEM SET synchronous_standby_names = ''")
        assert self.run("SELECT pg_promote(true, 60)") == [(True,)], self.log()[-3000:]


def _is_alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
