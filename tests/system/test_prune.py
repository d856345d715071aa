"""outcomed prune: what is old goes, whole; what is not stays; daemons go on serving meanwhile."""

import pathlib
import subprocess
import threading
import time

import pytest

from support.daemon import Daemon, environment
from support.events import CallMaker

pytestmark = pytest.mark.integration

DAY = 86400
TABLES = {"livekit_call_events": "roomSid", "call_facts": "roomSid", "call_legs": "roomSid", "call_revisions": "roomSid", "call_logs": "livekitRoomSid"}


@pytest.fixture
def outcomed(outcomed_binary, database, tmp_path):
    """outcomed(word, …) on this test's database."""

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run([outcomed_binary, words[0], "--database", database.url, *words[1:]], cwd=tmp_path, env=environment(), timeout=120,
                              capture_output=True, text=True, check=False)
        assert done.returncode == code, done
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    return run


def number(shown: str, what: str) -> int:
    return int(next(line.rsplit(None, 1)[1] for line in shown.splitlines() if line.strip().startswith(what)))


def post(daemon: Daemon, call: CallMaker, events: list[dict]) -> CallMaker:
    for event in events:
        assert daemon.post_event(event).status == 200
    return call


def old(days: int, **members) -> CallMaker:
    return CallMaker(started_s=int(time.time()) - days * DAY, **members)


def rows_of(database, sid: str) -> dict[str, int]:
    return {table: database.count(table, f'"{column}" = ?', sid) for table, column in TABLES.items()}


def wait_ended(daemon: Daemon, call: CallMaker) -> None:
    daemon.wait_outcome(call.sid, call.tenant, 20)


def test_ended_calls_go_whole_and_the_others_stay(daemon, database, outcomed):
    gone = post(daemon, c := old(100), c.answered())
    young = post(daemon, c := old(80), c.answered())
    still_open = post(daemon, c := CallMaker(), c.answered()[:5])
    for call in (gone, young):
        wait_ended(daemon, call)
    shown = outcomed("prune", "--older-than", "90d", "--dry-run")
    assert number(shown, "calls that would go") == 1
    assert rows_of(database, gone.sid)["livekit_call_events"] == 10
    shown = outcomed("prune", "--older-than", "90d")
    assert number(shown, "calls removed") == 1 and number(shown, "journal rows") == 10
    assert set(rows_of(database, gone.sid).values()) == {0}
    assert daemon.outcome(gone.sid, gone.tenant).status == 404
    for call in (young, still_open):
        assert daemon.outcome(call.sid, call.tenant).status == 200
    assert rows_of(database, young.sid)["livekit_call_events"] == 10
    assert number(outcomed("prune", "--older-than", "90d"), "calls removed") == 0


def test_a_repetition_of_a_pruned_event_makes_no_ghost(start_daemon, database, outcomed):
    daemon = start_daemon(database=database)
    call = old(100)
    events = call.answered()
    post(daemon, call, events)
    wait_ended(daemon, call)
    outcomed("prune", "--older-than", "90d")
    daemon.stop()
    daemon.start()  # it learns what was pruned when it opens the store, and every 15 s
    replies = [daemon.post_event(event) for event in events]
    assert {reply.status for reply in replies} == {200}
    assert {reply.json()["status"] for reply in replies} == {"quarantined"}
    assert rows_of(database, call.sid) == {"livekit_call_events": 10, "call_facts": 0, "call_legs": 0, "call_revisions": 0, "call_logs": 0}
    outcomed("replay")
    assert rows_of(database, call.sid)["call_facts"] == 0
    assert daemon.outcome(call.sid, call.tenant).status == 404
    fresh = post(daemon, c := CallMaker(), c.answered())
    wait_ended(daemon, fresh)


def test_a_tenant_can_be_pruned_alone(daemon, database, outcomed):
    one = post(daemon, c := old(100, tenant="tenant-a"), c.unanswered())
    other = post(daemon, c := old(100, tenant="tenant-b"), c.unanswered())
    for call in (one, other):
        wait_ended(daemon, call)
    outcomed("prune", "--older-than", "90d", "--user", "tenant-a")
    assert set(rows_of(database, one.sid).values()) == {0}
    assert rows_of(database, other.sid)["livekit_call_events"] == 6


def test_payloads_go_earlier_and_what_is_left_says_so(daemon, database, outcomed):
    call = post(daemon, c := old(40), c.answered())
    wait_ended(daemon, call)
    before = daemon.outcome(call.sid, call.tenant).json()
    shown = outcomed("prune", "--older-than", "90d", "--payloads-older-than", "30d")
    assert number(shown, "calls stripped of payloads") == 1 and number(shown, "payloads") == 10
    assert daemon.outcome(call.sid, call.tenant).json() == before
    events = daemon.get(f"/api/calls/{call.sid}/events?user_id={call.tenant}").json()["events"]
    assert len(events) == 10 and all(e["rawPayload"] is None and e["rawBody"] is None and e["processed"] for e in events)
    assert "payload of an event that counted was removed" in outcomed("replay", code=3)
    again = daemon.post_event({"event": "room_finished", "id": events[-1]["eventId"], "room": call.room(), "createdAt": str(call.started_s + 11)})
    assert again.json()["message"] == "Event already processed (idempotency)"
    assert daemon.outcome(call.sid, call.tenant).json() == before


def test_what_belongs_to_no_call_goes_by_the_time_it_came(daemon, database, outcomed):
    for name in ("early", "late"):
        event = CallMaker(room_name=name).event("track_published", 0)
        event["room"] = {"name": name}
        assert daemon.post_event(event).status == 200
    daemon.stop()
    long_ago = "2020-01-01T00:00:00.000Z"
    database.query("UPDATE livekit_call_events SET \"createdAt\" = ? WHERE \"roomName\" = 'early'", long_ago)
    assert number(outcomed("prune", "--older-than", "90d"), "journal rows") == 1
    assert database.query('SELECT "roomName" FROM livekit_call_events WHERE "roomName" IS NOT NULL') == [("late",)]


def test_pruning_disturbs_nobody(daemon, database, outcomed, say):
    for _ in range(30):
        post(daemon, c := old(100), c.unanswered())
    deadline = time.monotonic() + 20
    while database.count("call_facts", "outcome IS NULL"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    slowest, stop, acknowledged = [0.0], threading.Event(), []

    def load() -> None:
        connection = daemon.connect()
        while not stop.is_set():
            for event in CallMaker().unanswered():
                began = time.monotonic()
                assert daemon.post_event(event, connection).status == 200
                slowest[0] = max(slowest[0], time.monotonic() - began)
                acknowledged.append(event["id"])
        connection.close()

    client = threading.Thread(target=load)
    client.start()
    try:
        shown = outcomed("prune", "--older-than", "90d")
    finally:
        stop.set()
        client.join(30)
    assert number(shown, "calls removed") == 30
    assert set(acknowledged) <= database.event_ids()
    say(f"prune of 30 calls beside traffic ({database.kind}): {len(acknowledged)} webhooks answered meanwhile, the slowest in {slowest[0]:.3f} s")


def test_serve_does_it_by_itself(start_daemon, database):
    daemon = start_daemon("--retention", "90d", "--keep-payloads", "30d", database=database)
    gone = post(daemon, c := old(100), c.unanswered())
    bare = post(daemon, c := old(40), c.unanswered())
    for call in (gone, bare):
        deadline = time.monotonic() + 40
        while database.count("livekit_call_events", '"roomSid" = ? AND "rawPayload" IS NOT NULL', call.sid):
            assert time.monotonic() < deadline, daemon.log()[-3000:]
            time.sleep(0.1)
    assert set(rows_of(database, gone.sid).values()) == {0}
    assert rows_of(database, bare.sid)["livekit_call_events"] == 6
    assert daemon.metrics()['outcomed_retention_removed_total{what="calls"}'] == 1
    daemon.wait_log("msg=retention")


@pytest.mark.parametrize("words", [(), ("--older-than", "12h"), ("--older-than", "soon"), ("--older-than", "90d", "--user", ""), ("--payloads-older-than", "-3d")])
def test_what_is_unclear_removes_nothing(outcomed_binary, tmp_path, words):
    done = subprocess.run([outcomed_binary, "prune", *words], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stderr.startswith("outcomed"), done
    assert list(pathlib.Path(tmp_path).iterdir()) == []
