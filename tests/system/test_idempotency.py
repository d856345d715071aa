"""An event counts once: whatever comes twice, at the same moment, in one batch, over restarts, on both stores."""

import concurrent.futures
import json

import pytest

from support.daemon import Daemon
from support.events import CallMaker

pytestmark = [pytest.mark.integration, pytest.mark.idempotency]

ALREADY = "Event already processed (idempotency)"


def post_at_once(daemon: Daemon, bodies: list[bytes], threads: int = 25) -> list[dict]:
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        replies = list(pool.map(daemon.post, bodies))
    assert {r.status for r in replies} == {200}
    return [r.json() for r in replies]


def facts_of(daemon: Daemon, sid: str) -> list[tuple]:
    return daemon.database.query('SELECT facts, outcome, revision FROM call_facts WHERE "roomSid" = ?', sid)


def test_a_second_delivery_is_said_to_be_processed_already(daemon: Daemon):
    event = CallMaker().event("room_started", 0)
    first, second = daemon.post_event(event), daemon.post_event(event)
    assert (first.json()["status"], first.json()["event_id"]) == ("processed", event["id"])
    assert second.status == 200
    assert second.json() == {"status": "processed", "event_id": event["id"], "message": ALREADY}
    assert daemon.database.count("livekit_call_events") == 1
    assert "already processed" in daemon.log()
    assert daemon.metrics()['outcomed_event_results_total{result="duplicate"}'] == 1


def test_the_same_event_fifty_times_at_once_counts_once(daemon: Daemon):
    body = json.dumps(CallMaker().event("room_started", 0)).encode()
    replies = post_at_once(daemon, [body] * 50)
    assert sum(r["message"] == ALREADY for r in replies) == 49
    assert daemon.database.count("livekit_call_events") == 1
    assert daemon.database.count("call_logs") == 1


def test_a_call_sent_ten_times_at_once_is_one_call(daemon: Daemon):
    call = CallMaker()
    bodies = [json.dumps(e).encode() for e in call.answered()]
    replies = post_at_once(daemon, bodies * 10)
    assert sum(r["message"] == ALREADY for r in replies) == 90
    assert daemon.database.count("livekit_call_events") == 10
    assert daemon.database.count("call_logs") == 1
    outcome = daemon.wait_outcome(call.sid, call.tenant)
    assert (outcome["outcome"], outcome["confidence"]) == ("completed", "certain")


def test_the_same_id_with_another_body_does_not_change_what_is_kept(daemon: Daemon):
    call = CallMaker()
    event = call.event("room_started", 0)
    assert daemon.post_event(event).status == 200
    kept = daemon.database.query('SELECT "rawPayload", "bodyHash" FROM livekit_call_events')
    reply = daemon.post_event(event | {"event": "room_finished", "note": "forged"})
    assert (reply.status, reply.json()["message"]) == (200, ALREADY)
    assert daemon.database.query('SELECT "rawPayload", "bodyHash" FROM livekit_call_events') == kept


def test_counted_once_over_kill_and_restart(start_daemon, database):
    daemon = start_daemon(database=database)
    call = CallMaker()
    events = call.answered()
    for event in events[:6]:
        assert daemon.post_event(event).status == 200
    daemon.kill()
    daemon.start()
    replies = [daemon.post_event(e).json() for e in events]
    assert [r["message"] == ALREADY for r in replies] == [True] * 6 + [False] * 4
    facts = facts_of(daemon, call.sid)
    daemon.stop()
    daemon.start()
    assert {daemon.post_event(e).json()["message"] for e in events} == {ALREADY}
    assert facts_of(daemon, call.sid) == facts
    assert daemon.database.count("livekit_call_events") == 10
    assert daemon.database.count("call_logs") == 1


def test_duplicates_in_any_order_give_the_same_facts(start_daemon, new_database, store):
    call = CallMaker()
    events = call.answered()
    straight = start_daemon(database=new_database(store))
    for event in events:
        straight.post_event(event)
    backwards = start_daemon(database=new_database(store))
    for event in reversed(events + events[::2]):
        backwards.post_event(event)
    straight.wait_outcome(call.sid, call.tenant)
    backwards.wait_outcome(call.sid, call.tenant)
    assert facts_of(straight, call.sid)[0][:2] == facts_of(backwards, call.sid)[0][:2]


def test_an_unreadable_event_counts_once_too(daemon: Daemon):
    replies = post_at_once(daemon, [b"not json at all"] * 20)
    assert len({r["event_id"] for r in replies}) == 1
    assert daemon.database.count("livekit_call_events") == 1


def test_events_without_room_count_once(daemon: Daemon):
    event = {"event": "egress_started", "id": "EV_roomless", "createdAt": "1795353139", "egressInfo": {"egressId": "EG_1"}}
    post_at_once(daemon, [json.dumps(event).encode()] * 20)
    assert daemon.database.count("livekit_call_events") == 1


def test_two_nodes_on_one_database_count_once(start_daemon, new_database):
    database = new_database("postgres")
    nodes = [start_daemon(database=database) for _ in range(2)]
    calls = [CallMaker() for _ in range(8)]
    bodies = [json.dumps(e).encode() for call in calls for e in call.answered()]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        both = [(pool.submit(nodes[0].post, b), pool.submit(nodes[1].post, b)) for b in bodies]
        for one, other in both:
            replies = [one.result(), other.result()]
            assert {r.status for r in replies} == {200}
            assert sorted(r.json()["message"] == ALREADY for r in replies) == [False, True]
    assert database.count("livekit_call_events") == 80
    assert database.count("call_logs") == 8
    for call in calls:
        assert nodes[0].wait_outcome(call.sid, call.tenant)["outcome"] == "completed"
