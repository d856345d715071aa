"""A PostgreSQL that may be taken down, and what a call comes out as when nobody disturbs it."""

import time

import pytest

from support import outage, torture
from support.cluster import Cluster
from support.daemon import Daemon, Database
from support.proxy import Proxy
from support.sender import Sender


@pytest.fixture(scope="session")
def _server():
    server = Cluster()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def cluster(_server: Cluster):
    """A server that may be taken down; it is up again for the next test."""
    yield _server
    _server.revive()


@pytest.fixture
def cluster_database(cluster: Cluster):
    """A fresh, empty database on it."""
    return Database("postgres", cluster.url(cluster.create()))


@pytest.fixture(scope="session")
def measure(_server: Cluster, outcomed_binary, tmp_path_factory):
    """What each pattern's call comes out as in peace, for torture.compare."""
    return outage.measure(outcomed_binary, tmp_path_factory.mktemp("peace"), _server)


@pytest.fixture
def behind_proxy(start_daemon, cluster_database):
    """behind_proxy(*args) gives (daemon, proxy); cluster_database asks the server directly."""
    proxies = []

    def start(*args: str) -> tuple[Daemon, Proxy]:
        proxy, url = Proxy.before(cluster_database.url)
        proxies.append(proxy)
        return start_daemon(*args, database=Database("postgres", url)), proxy

    yield start
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def wait_for():
    """wait_for(what, condition, timeout_s=20)"""

    def wait(what: str, condition, timeout_s: float = 20):
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
            time.sleep(0.05)
        return value

    return wait


@pytest.fixture
def settle():
    """settle(database, sender, measure): all of what was acknowledged is there, once, and each call came out as in peace."""

    def check(database: Database, sender: Sender, measure: dict) -> torture.Books:
        books = outage.settle(database, sender, measure)
        assert books.clean(), books
        return books

    return check
