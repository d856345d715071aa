"""PostgreSQL stopped, killed, frozen, cut off without a word, slow, and replaced by its standby, while webhooks come at a steady rate: a share of
what tests/faults/outage.py does at full length (`make faults`)."""

import time

import pytest

from support.daemon import Database
from support.sender import Sender

pytestmark = [pytest.mark.integration, pytest.mark.idempotency]

RATE = 60  # webhooks a second; sanitizers and other tests run beside
WITHIN_S = 2.0


def taken_in_time(sender: Sender) -> None:
    assert set(sender.statuses()) == {200}, f"{sender}"
    assert sender.slowest_s() < WITHIN_S, f"{sender}"


@pytest.fixture
def outage(start_daemon, cluster_database, measure, settle, say, request):
    """outage(fault, mend, seconds): webhooks before, during and after; then the books."""

    def run(fault, mend, seconds: float, database: Database = cluster_database, ask: Database = cluster_database) -> Sender:
        daemon = start_daemon(database=database)
        sender = Sender(daemon.port, RATE)
        try:
            time.sleep(1)
            fault()
            try:
                time.sleep(seconds)
            finally:
                mend()
            time.sleep(1)
        finally:
            sender.finish()
        books = settle(ask, sender, measure)
        taken_in_time(sender)
        say(f"{request.node.name}: {sender}; stored {books.stored}")
        return sender

    return run


def test_stopped_and_started_again(outage, cluster):
    outage(cluster.stop, cluster.launch, 3)


def test_killed_with_all_its_processes(outage, cluster):
    outage(cluster.kill, cluster.launch, 1)


def test_frozen(outage, cluster):
    outage(cluster.freeze, cluster.thaw, 4)
