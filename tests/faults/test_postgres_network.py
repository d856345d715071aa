"""The network between outcomed and PostgreSQL: cut around a COMMIT, and slow."""

import concurrent.futures
import json

import pytest

from support.events import CallMaker

pytestmark = [pytest.mark.integration, pytest.mark.idempotency]


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
