"""PostgreSQL taken away under a steady stream of webhooks, in each of the ways in which that happens, and the books afterwards. Short shares of it are
tests (tests/faults/test_postgres_outages.py); tests/faults/outage.py runs it at full length."""

import dataclasses
import pathlib
import time

from support import torture
from support.cluster import Cluster
from support.daemon import Daemon, Database
from support.proxy import Proxy
from support.sender import Sender

BEFORE_S = AFTER_S = 0.4
DRAIN_S = 120
PROMOTE_AFTER_S = 1.0


class Stopped:
    """A fast shutdown, as by an administrator, and started again."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name

    def url(self) -> str:
        return self.cluster.url(self.name)

    def asked(self) -> str:
        """Where the events must be in the end."""
        return self.cluster.url(self.name)

    def begin(self) -> None:
        self.cluster.stop()

    def end(self) -> None:
        self.cluster.launch()

    def close(self) -> None:
        pass


class Killed(Stopped):
    """kill -9 of all its processes; it recovers from its log."""

    def begin(self) -> None:
        self.cluster.kill()


class Frozen(Stopped):
    """SIGSTOP of all its processes."""

    def begin(self) -> None:
        self.cluster.freeze()

    def end(self) -> None:
        self.cluster.thaw()


class CutOff(Stopped):
    """The network passes nothing on and says nothing."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__(cluster, name)
        self.proxy, self._url = Proxy.before(cluster.url(name))

    def url(self) -> str:
        return self._url

    def begin(self) -> None:
        self.proxy.silence()

    def end(self) -> None:
        self.proxy.mend()

    def close(self) -> None:
        self.proxy.close()


class FailedOver(Stopped):
    """The primary freezes, its standby is promoted, and stays. (Commits wait for the standby, so that it has all that was acknowledged.)"""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__(cluster, name)
        self.standby = cluster.standby()

    def url(self) -> str:
        return self.cluster.url(self.name, self.standby, target_session_attrs="read-write")

    def asked(self) -> str:
        return self.standby.url(self.name)

    def begin(self) -> None:
        self.cluster.freeze()
        time.sleep(PROMOTE_AFTER_S)
        self.standby.promote()

    def end(self) -> None:
        pass

    def close(self) -> None:
        self.cluster.thaw()
        self.standby.close()


KINDS = {"stopped": Stopped, "killed": Killed, "frozen": Frozen, "cut-off": CutOff, "failed-over": FailedOver}


@dataclasses.dataclass
class Report:
    kind: str
    seconds: float
    sender: Sender
    drained_s: float
    books: torture.Books
    resident_kib: int

    def clean(self, within_s: float) -> bool:
        return self.books.clean() and set(self.sender.statuses()) == {200} and self.sender.slowest_s() < within_s

    def __str__(self) -> str:
        b = self.books
        return (f"PostgreSQL {self.kind} for {self.seconds:g} s: {self.sender}; all in the database {self.drained_s:.1f} s after the last answer: "
                f"{b.acknowledged} acknowledged, {b.stored} stored, missing {len(b.missing)}, stored twice {len(b.twice)}, calls that came out otherwise "
                f"{len(b.wrong_calls)}; {self.resident_kib / 1024:.0f} MiB resident")


def measure(binary: pathlib.Path, folder: pathlib.Path, cluster: Cluster) -> dict:
    """What each pattern's call comes out as in peace, for torture.compare."""
    return torture.undisturbed(torture.Lives(binary, folder), Database("postgres", cluster.url(cluster.create())), "--migrate")


def settle(database: Database, sender: Sender, expected: dict, timeout_s: float = DRAIN_S) -> torture.Books:
    """Waits until all of what was acknowledged is in the database and judged; the books say whether it is so."""
    deadline = time.monotonic() + timeout_s
    while not sender.ledger.acknowledged <= database.event_ids() and time.monotonic() < deadline:
        time.sleep(0.1)
    torture.wait_judged(database, sender.ledger)
    return torture.compare(database, sender.ledger, expected)


def run(kind: str, outage: Stopped, daemon: Daemon, expected: dict, seconds: float, rate: float) -> Report:
    sender = Sender(daemon.port, rate)
    try:
        time.sleep(BEFORE_S)
        began = time.monotonic()
        outage.begin()
        try:
            time.sleep(max(0, seconds - (time.monotonic() - began)))
        finally:
            outage.end()
        time.sleep(AFTER_S)
    finally:
        sender.finish()
    began = time.monotonic()
    books = settle(Database("postgres", outage.asked()), sender, expected)
    return Report(kind, seconds, sender, time.monotonic() - began, books, daemon.resident_kib())
