"""Several nodes on one PostgreSQL get the same events at the same time; one is killed, one frozen: every event counts once, no call comes out
otherwise, and what the lost node did in the background is done by the other. NODES_EVENTS makes more of it: `make faults`."""

import os
import signal
import time

import pytest

from support.daemon import Daemon
from support.events import CallMaker
from support.sender import Sender

pytestmark = [pytest.mark.integration, pytest.mark.idempotency]

EVENTS = int(os.environ.get("NODES_EVENTS", "400"))
RATE = int(os.environ.get("NODES_RATE", "150"))  # events a second, at each of the nodes


@pytest.fixture
def nodes(start_daemon, cluster_database) -> list[Daemon]:
    return [start_daemon(database=cluster_database) for _ in range(2)]


def send_to_both(nodes: list[Daemon], half_way, events: int = EVENTS) -> Sender:
    sender = Sender([node.port for node in nodes], RATE)
    try:
        while len(sender.ledger.acknowledged) < events / 2:
            time.sleep(0.02)
        half_way()
        while len(sender.ledger.acknowledged) < events:
            time.sleep(0.02)
    finally:
        sender.finish()
    return sender


@pytest.mark.timeout(120 + EVENTS // 20)
def test_the_same_events_at_both_and_one_is_killed_half_way(nodes, cluster_database, measure, settle, say):
    sender = send_to_both(nodes, nodes[1].kill)
    books = settle(cluster_database, sender, measure)
    assert books.acknowledged >= EVENTS
    survivor = [a for a in sender.answers if a.port == nodes[0].port]
    assert {a.status for a in survivor} == {200}
    say(f"two nodes, the same {books.acknowledged} events at both, one killed half-way: stored {books.stored}, missing {len(books.missing)}, twice "
        f"{len(books.twice)}, calls that came out otherwise {len(books.wrong_calls)}; slowest answer of the other {max(a.took_s for a in survivor):.2f} s")


def test_the_same_events_at_both_and_one_is_frozen_for_a_while(nodes, cluster_database, measure, settle):
    """It holds locks while it hangs; the server ends its session, and what it finds when it goes on is only what the other has done."""

    def freeze() -> None:
        nodes[1].signal(signal.SIGSTOP)

    sender = Sender([nodes[0].port], RATE)
    other = Sender([nodes[1].port], RATE)  # the same calls: numbers and bodies are the same
    try:
        time.sleep(1)
        freeze()
        time.sleep(2.5)
        nodes[1].signal(signal.SIGCONT)
        time.sleep(1)
    finally:
        nodes[1].signal(signal.SIGCONT)
        sender.finish()
        other.finish()
    assert set(sender.statuses()) == {200}
    assert sender.slowest_s() < 2, f"{sender}"
    for each in (sender, other):
        for call in each.ledger.calls:
            if call.sid not in {c.sid for c in sender.ledger.calls}:
                sender.ledger.calls.append(call)
        sender.ledger.acknowledged |= each.ledger.acknowledged
    settle(cluster_database, sender, measure)


def test_calls_that_fall_due_are_judged_by_the_other_node(nodes, cluster_database):
    """A call that waits for its grace when its node dies."""
    call = CallMaker(started_s=int(time.time()) - 20)
    for event in call.answered()[:-3]:
        assert nodes[1].post_event(event).status == 200
    nodes[1].kill()
    cluster_database.query('UPDATE call_facts SET "dueAtMs" = 1 WHERE "roomSid" = ?', call.sid)
    deadline = time.monotonic() + 15
    while cluster_database.query('SELECT "dueAtMs" FROM call_facts WHERE "roomSid" = ?', call.sid) == [(1,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert nodes[0].post_event(call.answered()[-1] | {"room": call.room()}).status == 200
    assert nodes[0].wait_outcome(call.sid, call.tenant)["outcome"] == "completed"
