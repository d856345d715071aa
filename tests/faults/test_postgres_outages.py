"""PostgreSQL stopped, killed, frozen, cut off without a word, and replaced by its standby, while webhooks come at a steady rate: a share of what
tests/faults/outage.py does at full length (`make faults`)."""

import pytest

from support import outage
from support.cluster import Cluster
from support.daemon import Database

pytestmark = [pytest.mark.integration, pytest.mark.idempotency]

RATE = 60  # webhooks a second; sanitizers and other tests run beside
WITHIN_S = 2.0


def check(start_daemon, cluster: Cluster, kind: str, seconds: float, measure: dict, say) -> None:
    fault = outage.KINDS[kind](cluster, cluster.create())
    try:
        daemon = start_daemon("--migrate", database=Database("postgres", fault.url()))
        report = outage.run(kind, fault, daemon, measure, seconds, RATE)
        say(str(report))
        assert report.clean(WITHIN_S), f"{report}\n{report.books}\n{daemon.log()[-2000:]}"
        assert daemon.stop() == 0
    finally:
        fault.close()


@pytest.mark.parametrize("kind, seconds", [("stopped", 1.5), ("killed", 0.3), ("frozen", 2), ("cut-off", 2)])
def test_every_webhook_is_taken_while_it_is_away(start_daemon, cluster, kind, seconds, measure, say):
    check(start_daemon, cluster, kind, seconds, measure, say)


def test_every_webhook_is_taken_while_its_standby_takes_over(start_daemon, measure, say):
    primary = Cluster()
    try:
        check(start_daemon, primary.start(), "failed-over", 2, measure, say)
    finally:
        primary.close()
