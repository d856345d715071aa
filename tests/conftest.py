"""Fixtures and collection. `make test` builds first; then `.venv/bin/pytest` works by itself."""

import contextlib
import json
import os
import pathlib
import signal

import pytest

from support import captures as capture_files
from support import cmocka, postgres, signing
from support.daemon import Daemon, Database, Response

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("OUTCOMED_BUILD", ROOT / "build-test"))
STORES = ("sqlite", "postgres")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # under nohup: the daemons are to have their own
        signal.signal(signal.SIGHUP, lambda *_: None)
    config.stash[cmocka.BUILD] = BUILD
    config.stash[SUMMARY] = []


def pytest_unconfigure() -> None:
    postgres.stop_shared()


def pytest_collect_file(file_path: pathlib.Path, parent: pytest.Collector):
    return cmocka.collect_file(parent, file_path)


# ---- lines for the end of the output ----

SUMMARY = pytest.StashKey[list[str]]()


@pytest.fixture
def say(request: pytest.FixtureRequest):
    """say(text): printed after the results, also when everything passes."""
    return request.config.stash[SUMMARY].append


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    for text in config.stash[SUMMARY]:
        terminalreporter.section("outcomed", sep="-")
        terminalreporter.write_line(text)


# ---- what is built ----

@pytest.fixture(scope="session")
def build_folder() -> pathlib.Path:
    """The build with sanitizers (OUTCOMED_BUILD names another)."""
    return BUILD


@pytest.fixture(scope="session")
def outcomed_binary(build_folder: pathlib.Path) -> pathlib.Path:
    binary = build_folder / "outcomed"
    if not binary.exists():
        pytest.fail(f"{binary} is not built: `make test` builds it", pytrace=False)
    return binary


# ---- databases ----

@pytest.fixture(scope="session")
def postgres_server() -> postgres.Server:
    """The private PostgreSQL of this run, or TEST_DATABASE_URL's."""
    return postgres.shared()


@pytest.fixture
def postgres_url(postgres_server: postgres.Server):
    """A fresh, empty database; dropped afterwards."""
    name = postgres_server.create()
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture
def new_database(tmp_path: pathlib.Path):
    """new_database(kind) makes a fresh, empty Database; it is gone after the test."""
    with contextlib.ExitStack() as stack:
        numbers = iter(range(1000))

        def make(kind: str) -> Database:
            if kind == "sqlite":
                return Database(kind, f"sqlite:{tmp_path}/outcomed-{next(numbers)}.db")
            server = postgres.shared()
            name = server.create()
            stack.callback(server.drop, name)
            return Database(kind, server.url(name))

        yield make


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """Runs the test once for each store."""
    return request.param


@pytest.fixture
def database(store: str, new_database) -> Database:
    return new_database(store)


# ---- the daemon ----

@pytest.fixture
def start_daemon(outcomed_binary: pathlib.Path, new_database, tmp_path: pathlib.Path):
    """start_daemon(*args, store='sqlite' | database=Database, env={}, wait_ready=True) gives a running Daemon. At the end each is
    stopped, must have exited with 0 (unless killed on purpose) and have no sanitizer's report in its log."""
    daemons: list[Daemon] = []

    def start(*args: str, store: str = "sqlite", database: Database | None = None, env: dict[str, str] | None = None,
              wait_ready: bool = True, listen: str = "127.0.0.1:0") -> Daemon:
        folder = tmp_path / f"daemon-{len(daemons)}"
        folder.mkdir()
        daemon = Daemon(outcomed_binary, folder, database or new_database(store), args, env, listen)
        daemons.append(daemon)
        return daemon.start(wait_ready)

    yield start
    problems = []
    for daemon in daemons:
        try:
            daemon.finish()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def daemon(start_daemon, database: Database) -> Daemon:
    """A daemon with the default settings, once for each store."""
    return start_daemon(database=database)


@pytest.fixture(scope="module", params=STORES)
def make_shared_daemon(request: pytest.FixtureRequest, outcomed_binary: pathlib.Path, tmp_path_factory: pytest.TempPathFactory):
    """make_shared_daemon(*args, env={}) gives a Daemon that lives for the module, with a database of its own; once for each store."""
    with contextlib.ExitStack() as stack:

        def make(*args: str, env: dict[str, str] | None = None) -> Daemon:
            folder = tmp_path_factory.mktemp("shared")
            if request.param == "sqlite":
                database = Database("sqlite", f"sqlite:{folder}/outcomed.db")
            else:
                server = postgres.shared()
                name = server.create()
                stack.callback(server.drop, name)
                database = Database("postgres", server.url(name))
            daemon = Daemon(outcomed_binary, folder, database, args, env)
            stack.callback(daemon.finish)
            return daemon.start()

        yield make


@pytest.fixture(scope="module")
def shared_daemon(make_shared_daemon) -> Daemon:
    """One daemon for all tests of a module, once for each store; only for tests that do not mind what others store."""
    return make_shared_daemon()


# ---- requests ----

@pytest.fixture
def sign():
    """sign(body) gives the headers that LiveKit sends with this body."""
    return signing.sign


@pytest.fixture
def post_event(daemon: Daemon):
    """post_event(event): dict or bytes, signed and posted to `daemon`."""

    def post(event: dict | bytes) -> Response:
        return daemon.post(event if isinstance(event, bytes) else json.dumps(event).encode())

    return post


@pytest.fixture
def get_outcome(daemon: Daemon):
    """get_outcome(call_id, user_id): the Response of `daemon`."""
    return daemon.outcome


@pytest.fixture(scope="session")
def captures() -> tuple[capture_files.Capture, ...]:
    """The recorded deliveries with their truth."""
    return capture_files.all_captures()
