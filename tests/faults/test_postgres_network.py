"""The network between outcomed and PostgreSQL: slow, refusing, cut around a COMMIT; and several hosts in DATABASE_URL, of which the first never
answers."""

import concurrent.futures
import json
import socket
import time

import pytest

from support.daemon import Database
from support.events import CallMaker
from support.sender import Sender

pytestmark = [pytest.mark.integration, pytest.mark.idempotency]

RATE = 60
WITHIN_S = 2.0


def all_taken(sender: Sender) -> None:
    assert set(sender.statuses()) == {200}, f"{sender}"
    assert sender.slowest_s() < WITHIN_S, f"{sender}"


def test_refused_and_taken_in_turn(behind_proxy, cluster_database, measure, settle):
    daemon, proxy = behind_proxy()
    sender = Sender(daemon.port, RATE)
    for _ in range(2):
        time.sleep(0.4)
        proxy.cut()
        time.sleep(0.3)
        proxy.mend()
    time.sleep(0.5)
    sender.finish()
    all_taken(sender)
    settle(cluster_database, sender, measure)


@pytest.mark.parametrize("arrives", [True, False], ids=["carried-out", "never-arrived"])
def test_lost_in_the_middle_of_a_commit(behind_proxy, cluster_database, arrives):
    """Whether it was committed is not known to the one who asked: the event ids say it, and each event is there once, each call too."""
    daemon, proxy = behind_proxy()
    calls = [CallMaker() for _ in range(10)]
    bodies = [json.dumps(e).encode() for call in calls for e in call.answered()]
    assert daemon.post(bodies[0]).status == 200
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        replies = []
        for at in range(1, len(bodies), 20):
            proxy.cut_commits(2, arrives)
            replies += pool.map(daemon.post, bodies[at:at + 20])
    assert proxy.commits_cut >= 5
    proxy.cut_commits(0, False)
    assert {r.status for r in replies} == {200}
    for call in calls:
        assert daemon.wait_outcome(call.sid, call.tenant, 30)["outcome"] == "completed"
    assert cluster_database.count("livekit_call_events") == 100
    assert cluster_database.count("call_logs") == 10
    assert cluster_database.query('SELECT max(n) FROM (SELECT count(*) AS n FROM livekit_call_events GROUP BY "eventId") x') == [(1,)]


def test_a_slow_line_is_not_a_dead_one(behind_proxy, cluster_database):
    """A connection takes longer to be made than anything may take afterwards: it is made all the same."""
    daemon, proxy = behind_proxy()
    call = CallMaker()
    events = call.answered()
    assert daemon.post_event(events[0]).status == 200
    proxy.cut()
    assert daemon.post_event(events[1]).status == 200
    proxy.mend()
    proxy.delay(0.03)
    for event in events[2:]:
        assert daemon.post_event(event).status == 200
    assert daemon.wait_outcome(call.sid, call.tenant, 30)["outcome"] == "completed"
    assert cluster_database.count("livekit_call_events") == 10


@pytest.fixture
def silent_host():
    """A port that takes connections, as a frozen machine's kernel does, and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def test_a_host_that_never_answers_does_not_keep_us_from_the_next(start_daemon, cluster, cluster_database, silent_host):
    name = cluster_database.url.rsplit("/", 1)[-1]
    url = f"postgresql://postgres:{cluster.password}@127.0.0.1:{silent_host},127.0.0.1:{cluster.port}/{name}?connect_timeout=1"
    daemon = start_daemon("--migrate", database=Database("postgres", url))
    call = CallMaker()
    for event in call.answered():
        assert daemon.post_event(event).status == 200
    assert daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"
