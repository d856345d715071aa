"""A private PostgreSQL: initdb into a temporary directory, loopback and a free port only, fsync on, gone at the end.
With TEST_DATABASE_URL that server is used instead; its user must be allowed to create databases."""

import os
import pathlib
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

import psycopg

from support.process import die_with_parent


def programs() -> pathlib.Path:
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        raise RuntimeError("no initdb: install postgresql-15, or set TEST_DATABASE_URL")
    return pathlib.Path(initdb).parent


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """`url(database)` is a libpq URL; `create()` makes an empty database and `drop()` removes it."""

    def __init__(self) -> None:
        self._folder: pathlib.Path | None = None
        self._process: subprocess.Popen | None = None
        self._base = os.environ.get("TEST_DATABASE_URL")

    def start(self) -> "Server":
        if self._base is None:
            self._start_private()
        return self

    def _start_private(self) -> None:
        folder = programs()
        as_user: dict = {}
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="outcomed-pg-"))
        password = secrets.token_hex(16)
        (self._folder / "password").write_text(password)
        if os.getuid() == 0:  # PostgreSQL refuses to run as root
            owner = pwd.getpwnam("postgres")
            as_user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            for path in (self._folder, self._folder / "password"):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        data = self._folder / "data"
        subprocess.run(
            [folder / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8",
             "--no-instructions", "--pwfile", self._folder / "password"],
            check=True, capture_output=True, cwd=self._folder, **as_user)
        port = free_port()
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [folder / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
                 "-c", f"unix_socket_directories={self._folder}", "-c", "max_connections=200", "-c", "shared_buffers=128MB"],
                stdout=log, stderr=log, cwd=self._folder, preexec_fn=die_with_parent(signal.SIGQUIT), **as_user)
        self._base = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._base, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("PostgreSQL did not start:\n" + (self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def log_path(self) -> pathlib.Path | None:
        """Where this server logs; None for one that is not ours."""
        return self._folder / "log" if self._folder else None

    def url(self, database: str) -> str:
        parts = urllib.parse.urlsplit(self._base)
        return urllib.parse.urlunsplit(parts._replace(path="/" + database))

    def run(self, sql: str) -> None:
        with psycopg.connect(self._base, autocommit=True) as connection:
            connection.execute(sql)

    def create(self) -> str:
        name = "outcomed_test_" + secrets.token_hex(6)
        self.run(f'CREATE DATABASE "{name}"')
        return name

    def drop(self, name: str) -> None:
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


_shared: Server | None = None


def shared() -> Server:
    """The one of this test run, started when first asked for; stop_shared() ends it."""
    global _shared
    if _shared is None:
        server = Server()
        try:
            _shared = server.start()
        except BaseException:
            server.stop()
            raise
    return _shared


def stop_shared() -> None:
    global _shared
    if _shared is not None:
        _shared.stop()
        _shared = None
