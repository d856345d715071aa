"""The watcher against a stand-in for LiveKit's API: what it learns, what it asks for, and that it concludes nothing from an answer that is none."""

import datetime
import json
import subprocess
import time

import pytest
from livekit import api as livekit_sdk

from support import livekit, signing
from support.daemon import Daemon, Database, environment
from support.events import CallMaker
from support.livekit import LiveKit, participant

pytestmark = pytest.mark.integration

CONFIRM_S = 15  # an absence counts when two replies so far apart agree on it


@pytest.fixture
def server():
    server = LiveKit()
    yield server
    server.close()


@pytest.fixture
def watch(start_daemon, server):
    """watch(*args, **start_daemon's) gives a Daemon that watches the stand-in, ten times a second."""

    def start(*args: str, url: str | None = None, env: dict | None = None, **more):
        return start_daemon("--watch-interval", "100", "--watch-rate", "100", *args, env={"LIVEKIT_URL": url or server.url} | (env or {}), **more)

    return start


def now_ms() -> int:
    return int(time.time() * 1000)


def ms(text: str) -> int:
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def ringing(**more) -> CallMaker:
    """An outbound call that began a moment ago."""
    return CallMaker(started_s=int(time.time()) - 2, **more)


def dial(daemon, call: CallMaker, tenant_too: bool = True) -> dict:
    """Its events until the phone rings; gives the SIP participant."""
    sip = call.sip("dialing", False)
    for event in (call.event("room_started", 0), call.event("participant_joined", 1, participant=sip)):
        assert daemon.post_event(event).status == 200
    return sip


def show(server: LiveKit, call: CallMaker, status: str = "ringing", tag: bool = False) -> None:
    server.rooms[call.name] = call.sid
    server.participants[call.name] = [participant(call.sip(status, tag))]


def marks(daemon, kind: str | None = None) -> list[dict]:
    rows = daemon.database.query("SELECT \"rawPayload\" FROM livekit_call_events WHERE event = 'mark' ORDER BY id")
    found = [row[0] if isinstance(row[0], dict) else json.loads(row[0]) for row in rows]
    return [m for m in found if kind is None or m["kind"] == kind]


def wait_for(what, timeout_s: float = 20):
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def requests(daemon, result: str) -> float:
    return daemon.metrics().get(f'outcomed_watcher_requests_total{{result="{result}"}}', 0)


def findings(daemon) -> dict[str, float]:
    names = ("answered", "leg_ended", "room_ended", "recording")
    metrics = daemon.metrics()
    return {n: metrics[f'outcomed_watcher_findings_total{{finding="{n}"}}'] for n in names if metrics[f'outcomed_watcher_findings_total{{finding="{n}"}}']}


# ---- answers ----

def test_the_moment_of_an_answer_is_learnt(watch, server, database):
    daemon = watch(database=database)
    call = ringing()
    show(server, call)
    dial(daemon, call)
    server.wait_asked(5, "RoomService/ListParticipants")
    answered = now_ms()
    show(server, call, "active", True)
    mark = wait_for(lambda: marks(daemon, "answered"))[0]
    at = mark["at"]
    assert mark["source"] == "watcher" and mark["sipCallId"] == call.call_id
    shown = wait_for(lambda: daemon.outcome(call.sid, "user-1").json()["answeredAt"])
    earliest, latest = (daemon.outcome(call.sid, "user-1").json()[n] for n in ("answeredAtEarliest", "answeredAtLatest"))
    assert ms(earliest) <= answered <= ms(latest) + 1, (earliest, answered, latest)
    assert abs(ms(shown) - answered) < 1000 and at
    assert daemon.outcome(call.sid, "user-1").json()["answeredSource"] == "watcher"
    assert findings(daemon) == {"answered": 1}
    time.sleep(0.5)
    before = len(server.asked())
    time.sleep(0.7)
    assert len(server.asked()) == before, "what is known is not asked for again"


def test_who_is_not_dialed_is_not_asked_about(watch, server):
    daemon = watch()
    inbound, web = ringing(), ringing()
    sip = inbound.sip("ringing", True)
    sip["attributes"]["sip.ruleID"] = "SDR_1"
    for event in (inbound.event("room_started", 0), inbound.event("participant_joined", 1, participant=sip), web.event("room_started", 0),
                  web.event("participant_joined", 1, participant={"sid": web.leg, "identity": "anna", "joinedAt": str(web.started_s)})):
        daemon.post_event(event)
    time.sleep(2.5)
    assert server.asked() == []
    assert daemon.database.count("call_facts", '"watchAtMs" IS NOT NULL') == 2  # for when nothing is heard for long


def test_without_an_address_nobody_watches(start_daemon):
    daemon = start_daemon()
    dial(daemon, ringing())
    time.sleep(0.3)
    assert daemon.database.count("call_facts", '"watchAtMs" IS NOT NULL') == 0


def test_the_wish_ends_with_the_call(watch, server):
    daemon = watch()
    call = ringing()
    show(server, call)
    dial(daemon, call)
    server.wait_asked(2)
    left = call.sip("ringing", False, state="DISCONNECTED", disconnectReason="USER_REJECTED")
    daemon.post_event(call.event("participant_left", 2, participant=left))
    daemon.post_event(call.event("room_finished", 2))
    assert daemon.database.count("call_facts", '"watchAtMs" IS NOT NULL') == 0
    time.sleep(0.4)
    before = len(server.asked())
    time.sleep(1.2)
    assert len(server.asked()) == before


def test_watching_rewrites_no_row_with_each_event(watch, server, database):
    daemon = watch(database=database)
    call = ringing()
    show(server, call)
    dial(daemon, call)
    server.wait_asked(3)
    read = 'SELECT "watchAtMs" FROM call_facts'
    seen = set()
    for second in range(6):
        daemon.post_event(call.track("track_published", 1 + second % 2, call.sip("ringing", False)))
        seen.add(daemon.database.query(read)[0][0])
        time.sleep(0.3)
    assert len(seen) <= 2, seen  # at most one renewal of a lease of ten seconds


# ---- requests ----

def test_requests_are_what_the_sdk_accepts(watch, server):
    daemon = watch("--watch-rate", "10")
    call = ringing()
    server.rooms[call.name] = call.sid
    dial(daemon, call)
    seen = server.wait_asked(6)
    assert {r.method for r in seen} == {"RoomService/ListParticipants", "RoomService/ListRooms"}
    verifier = livekit_sdk.TokenVerifier(signing.KEY, signing.SECRET)
    for r in seen:
        claims = verifier.verify(r.headers["authorization"].removeprefix("Bearer "))
        granted = [bool(g) for g in (claims.video.room_list, claims.video.room_admin, claims.video.room_record)]
        assert granted == [r.method.endswith("ListRooms"), r.method.endswith("Participants"), False]
        assert r.claims["exp"] - time.time() < 120
        assert (claims.video.room or "") == ("" if r.method.endswith("ListRooms") else call.name)
    gaps = [b.at - a.at for a, b in zip(seen, seen[1:])]
    assert min(gaps) > 0.09, "at most ten a second"
    assert server.connections == 1, "one connection is kept"


def test_the_key_that_signed_the_call_asks(watch, server):
    server.keys["otherkey"] = "another secret of that server"
    daemon = watch(env={"LIVEKIT_KEYS": "otherkey: another secret of that server"})
    call = ringing()
    show(server, call)
    for event in (call.event("room_started", 0), call.event("participant_joined", 1, participant=call.sip("dialing", False))):
        body = json.dumps(event).encode()
        daemon.post(body, signing.sign(body, key="otherkey", secret="another secret of that server"))
    assert {r.claims["iss"] for r in server.wait_asked(3)} == {"otherkey"}


def test_a_key_that_the_server_does_not_know_hinders_no_other(watch, server):
    """Two servers, one address: rooms of the other one are no more concluded upon than its key is taken."""
    daemon = watch(env={"LIVEKIT_KEYS": "otherkey: of another server"})
    foreign, call = ringing(), ringing()
    for event in (foreign.event("room_started", 0), foreign.event("participant_joined", 1, participant=foreign.sip("dialing", False))):
        body = json.dumps(event).encode()
        daemon.post(body, signing.sign(body, key="otherkey", secret="of another server"))
    show(server, call)
    dial(daemon, call)
    server.wait_asked(10, "RoomService/ListParticipants")
    assert requests(daemon, "denied") >= 1
    show(server, call, "active", True)
    wait_for(lambda: marks(daemon, "answered"))
    assert {m["roomSid"] for m in marks(daemon)} == {call.sid}
    assert {r.body["room"] for r in server.asked("RoomService/ListParticipants")} == {call.name}


def test_two_nodes_ask_about_a_call_once(start_daemon, server, new_database):
    database = new_database("postgres")
    args, env = ("--watch-interval", "200", "--watch-rate", "50"), {"LIVEKIT_URL": server.url}
    nodes = [start_daemon(*args, env=env, database=database) for _ in range(2)]
    call = ringing()
    show(server, call)
    dial(nodes[0], call)
    server.wait_asked(2)
    began = len(server.asked())
    time.sleep(3)
    assert 10 <= len(server.asked()) - began <= 17
    assert sum(node.metrics()["outcomed_watcher_calls"] for node in nodes) == 1
    show(server, call, "active", True)
    assert len(wait_for(lambda: marks(nodes[1], "answered"))) == 1


def test_a_node_takes_over_when_another_dies(start_daemon, server, new_database):
    database = new_database("postgres")
    args, env = ("--watch-interval", "200", "--watch-rate", "50"), {"LIVEKIT_URL": server.url}
    first = start_daemon(*args, env=env, database=database)
    call = ringing()
    show(server, call)
    dial(first, call)
    server.wait_asked(2)
    second = start_daemon(*args, env=env, database=database)
    first.kill()
    time.sleep(0.2)
    count = len(server.asked())
    server.wait_asked(count + 2, timeout_s=15)
    assert second.metrics()["outcomed_watcher_calls"] == 1


# ---- ends ----

def test_a_room_that_is_gone_is_an_end(watch, server, database):
    daemon = watch(database=database)
    call = ringing()
    show(server, call)
    dial(daemon, call)
    server.wait_asked(3)
    gone = now_ms()
    del server.rooms[call.name], server.participants[call.name]
    ended = wait_for(lambda: [m for m in marks(daemon, "ended") if "sipCallId" not in m], CONFIRM_S + 10)[0]
    assert abs(ms(ended["at"]) - gone) < 2000 and ended["withinMs"] < 2500
    assert findings(daemon)["room_ended"] == 1
    assert server.asked("RoomService/ListRooms"), "an empty list of participants is no end by itself"


def test_another_room_of_the_same_name_is_an_end_too(watch, server):
    daemon = watch()
    call, next_call = ringing(), ringing()
    next_call.name = call.name
    show(server, call)
    dial(daemon, call)
    server.wait_asked(3)
    show(server, next_call, "active", True)
    wait_for(lambda: [m for m in marks(daemon, "ended") if "sipCallId" not in m], CONFIRM_S + 10)
    assert marks(daemon, "answered") == [], "the next call's answer is not this one's"


def test_a_leg_that_is_gone_from_its_room_is_an_end(watch, server):
    daemon = watch()
    call = ringing()
    show(server, call)
    dial(daemon, call)
    server.wait_asked(3)
    server.participants[call.name] = [participant({"sid": call.agent, "identity": "agent-x", "kind": "AGENT", "joinedAt": "1"})]
    wait_for(lambda: marks(daemon, "ended"), CONFIRM_S + 10)
    assert [m["sipCallId"] for m in marks(daemon, "ended")] == [call.call_id]


def test_a_participant_that_cannot_be_read_hides_no_answer_and_proves_no_absence(watch, server):
    daemon = watch()
    call = ringing()
    odd = participant({"sid": "PA_odd", "identity": "x" * 2000, "metadata": "a\0b"})
    server.rooms[call.name] = call.sid
    server.participants[call.name] = [odd]
    dial(daemon, call)
    time.sleep(CONFIRM_S + 4)
    assert marks(daemon) == []
    server.participants[call.name] = [odd, participant(call.sip("active", True))]
    wait_for(lambda: marks(daemon, "answered"))


def test_a_leg_that_comes_back_has_not_ended(watch, server):
    daemon = watch()
    call = ringing()
    show(server, call)
    dial(daemon, call)
    server.wait_asked(3)
    server.participants[call.name] = []
    time.sleep(CONFIRM_S - 5)
    show(server, call)
    time.sleep(8)
    assert marks(daemon) == []


def test_quiet_calls_are_asked_about(watch, server, database):
    daemon = watch(database=database)
    call = CallMaker(started_s=int(time.time()) - 3000)
    server.rooms["another"] = "RM_another"
    daemon.post_event(call.event("room_started", 0))
    daemon.post_event(call.event("participant_joined", 1, participant=call.sip("active", True)))
    wait_for(lambda: marks(daemon, "ended"), CONFIRM_S + 10)
    assert daemon.wait_outcome(call.sid, "user-1", 60)["outcome"]


# ---- recordings ----

def test_a_recording_that_nobody_announced_is_found(watch, server, database):
    daemon = watch(database=database)
    call = CallMaker(started_s=int(time.time()) - 4000)
    started = {"egressId": "EG_1", "roomId": call.sid, "roomName": call.name, "status": "EGRESS_ACTIVE", "startedAt": str(call.started_s * 10**9)}
    for event in call.answered():
        daemon.post_event(event)
    daemon.post_event({"event": "egress_started", "id": "EV_egress", "createdAt": str(call.started_s + 2), "egressInfo": started})
    own = {"egress_id": "EG_1", "room_id": call.sid, "room_name": call.name, "status": "EGRESS_COMPLETE", "started_at": str(call.started_s * 10**9),
           "ended_at": str((call.started_s + 12) * 10**9), "file_results": [{"filename": "a.ogg", "location": "https://bucket.example.com/a.ogg"}],
           "room_composite": {"room_name": call.name, "file_outputs": [{"s3": {"access_key": "AKIA", "secret": "not for the journal"}}]}}
    server.egresses = [own | {"egress_id": "EG_2", "room_id": "RM_other"}, own]
    wait_for(lambda: daemon.outcome(call.sid, "user-1").json()["recordingUrl"] == "https://bucket.example.com/a.ogg")
    assert daemon.database.query("SELECT source, event FROM livekit_call_events WHERE source = 'watcher'") == [("watcher", "egress_ended")]
    kept = daemon.database.query("SELECT \"rawPayload\" FROM livekit_call_events WHERE source = 'watcher'")[0][0]
    assert "not for the journal" not in json.dumps(kept)
    assert findings(daemon) == {"recording": 1}
    assert daemon.database.count("call_facts", '"watchAtMs" IS NOT NULL') == 0


def test_a_recording_that_goes_on_is_asked_for_later(watch, server):
    daemon = watch()
    call = CallMaker(started_s=int(time.time()) - 4000)
    for event in call.answered():
        daemon.post_event(event)
    info = {"egressId": "EG_1", "roomId": call.sid, "roomName": call.name, "status": "EGRESS_ACTIVE"}
    daemon.post_event({"event": "egress_started", "id": "EV_egress", "createdAt": str(call.started_s + 2), "egressInfo": info})
    server.egresses = [{"egress_id": "EG_1", "room_id": call.sid, "room_name": call.name, "status": "EGRESS_ACTIVE"}]
    server.wait_asked(1, "Egress/ListEgress")
    time.sleep(1.5)
    assert len(server.asked("Egress/ListEgress")) == 1
    at = daemon.database.query('SELECT "watchAtMs" FROM call_facts')[0][0]
    assert at > now_ms() + 50_000


def test_a_call_that_was_asked_about_while_it_rang_is_asked_for_its_recording_at_once(watch, server):
    daemon = watch()
    call = CallMaker(started_s=int(time.time()) - 4000)
    events = call.answered()
    for event in events[:5]:
        daemon.post_event(event)
    server.wait_asked(1, "RoomService/ListParticipants")
    info = {"egressId": "EG_1", "roomId": call.sid, "roomName": call.name, "status": "EGRESS_ACTIVE"}
    for event in [*events[5:], {"event": "egress_started", "id": "EV_egress", "createdAt": str(call.started_s + 2), "egressInfo": info}]:
        daemon.post_event(event)
    server.egresses = [{"egress_id": "EG_1", "room_id": call.sid, "room_name": call.name, "status": "EGRESS_ACTIVE"}]
    server.wait_asked(1, "Egress/ListEgress")
    time.sleep(1.5)
    assert len(server.asked("Egress/ListEgress")) == 1
    assert daemon.database.query('SELECT "watchAtMs" FROM call_facts')[0][0] > now_ms() + 50_000


# ---- when LiveKit does not answer ----

@pytest.fixture(scope="module")
def broken_server():
    server = LiveKit()
    yield server
    server.close()


@pytest.fixture(scope="module")
def patient_daemon(broken_server, outcomed_binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient")
    daemon = Daemon(outcomed_binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db"), ("--watch-interval", "100", "--watch-rate", "100"),
                    {"LIVEKIT_URL": broken_server.url})
    yield daemon.start()
    daemon.finish()


def failures(daemon) -> float:
    well = ("ok", "not_found")
    return sum(v for k, v in daemon.metrics().items() if k.startswith("outcomed_watcher_requests_total") and not any(f'"{w}"' in k for w in well))


@pytest.mark.parametrize("fault", sorted(livekit.FAULTS))
def test_nothing_is_concluded_from_what_is_no_answer(patient_daemon, broken_server, fault):
    """The room is gone; but whoever says so this way is not believed. LiveKit is, when it answers again."""
    daemon, server, call = patient_daemon, broken_server, ringing()
    before = failures(daemon)
    server.fault = fault
    dial(daemon, call)
    wait_for(lambda: failures(daemon) > before)
    mentioned = daemon.database.query('SELECT "eventId" FROM livekit_call_events WHERE "roomSid" = ? AND source = ?', call.sid, "watcher")
    assert mentioned == []
    assert daemon.get("/readyz").status == 200
    server.fault = None
    well = requests(daemon, "ok")
    wait_for(lambda: requests(daemon, "ok") > well)


def test_a_room_that_is_gone_has_ended_when_livekit_answers_again(patient_daemon, broken_server):
    call = ringing()
    broken_server.fault = "503"
    dial(patient_daemon, call)
    time.sleep(2)
    assert not [m for m in marks(patient_daemon) if m.get("roomSid") == call.sid]
    broken_server.fault = None
    wait_for(lambda: [m for m in marks(patient_daemon, "ended") if m.get("roomSid") == call.sid], CONFIRM_S + 20)


@pytest.mark.parametrize("fault", ["500", "garbage"])
def test_each_failure_makes_the_pause_longer(watch, server, fault):
    daemon = watch()
    server.fault = fault
    dial(daemon, ringing())
    server.wait_asked(1)
    time.sleep(4)
    assert 2 <= len(server.asked()) <= 5
    log = daemon.log()
    assert log.count("livekit_api_failing") == 1 and "mend=" in log
    assert "Bearer" not in log and "eyJ" not in log


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://no-such-host.invalid", "http://[::1]:1", "https://127.0.0.1:1"])
def test_an_address_where_nobody_is(watch, url):
    daemon = watch(url=url)
    dial(daemon, ringing())
    wait_for(lambda: requests(daemon, "unreachable") >= 2, 15)
    assert marks(daemon) == []
    assert daemon.get("/readyz").status == 200
    began = time.monotonic()
    assert daemon.stop() == 0 and time.monotonic() - began < 5


def test_tls_is_verified(watch, server):
    daemon = watch(url=server.url.replace("http:", "https:"))
    dial(daemon, ringing())
    wait_for(lambda: requests(daemon, "untrusted") >= 1, 15)
    assert server.asked() == []


def test_ipv6(watch, start_daemon):
    server = LiveKit(host="::1")
    try:
        daemon = watch(url=server.url)
        call = ringing()
        show(server, call)
        dial(daemon, call)
        server.wait_asked(2)
        assert requests(daemon, "ok") >= 1
    finally:
        server.close()


def test_retry_after_is_honoured(watch, server):
    daemon = watch()
    call = ringing()
    show(server, call)
    server.fault, server.fault_left, server.retry_after = "429", 1, "4"
    dial(daemon, call)
    first, second = server.wait_asked(2)[:2]
    assert 3.9 <= second.at - first.at < 6
    assert requests(daemon, "limited") == 1


def test_it_goes_on_when_livekit_is_back(watch, server):
    daemon = watch()
    call = ringing()
    show(server, call)
    server.fault, server.fault_left = "503", 2
    dial(daemon, call)
    wait_for(lambda: requests(daemon, "ok") >= 1, 10)
    show(server, call, "active", True)
    wait_for(lambda: marks(daemon, "answered"))
    daemon.wait_log("livekit_api_answers_again")


def test_a_cut_connection_is_made_anew(watch, server):
    daemon = watch()
    call = ringing()
    show(server, call)
    dial(daemon, call)
    server.wait_asked(3)
    for _ in range(3):
        server.cut()
        server.wait_asked(len(server.asked()) + 2)
    show(server, call, "active", True)
    wait_for(lambda: marks(daemon, "answered"))
    assert server.connections >= 4


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_stopping_does_not_wait_for_livekit(watch, server, fault):
    daemon = watch()
    server.fault = fault
    dial(daemon, ringing())
    server.wait_asked(1)
    began = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - began < 3


def test_a_clock_that_is_ahead_is_allowed_for(watch, server):
    """Answers are told in LiveKit's own time."""
    server.date_offset_s = 40
    daemon = watch()
    call = CallMaker(started_s=int(time.time()) + 38)
    show(server, call)
    dial(daemon, call)
    server.wait_asked(15)
    answered = now_ms() + 40_000
    show(server, call, "active", True)
    mark = wait_for(lambda: marks(daemon, "answered"))[0]
    assert -1500 < ms(mark["at"]) - answered < 2500


def test_an_address_that_is_none_is_refused(outcomed_binary, tmp_path):
    done = subprocess.run([outcomed_binary, "serve", "--listen", "127.0.0.1:0", "--livekit-url", "livekit.example.com"], cwd=tmp_path, env=environment(),
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2 and "LIVEKIT_URL" in done.stderr


def test_without_an_api_key_it_only_says_so(start_daemon, server):
    daemon = start_daemon(env={"LIVEKIT_URL": server.url, "LIVEKIT_API_KEY": None, "LIVEKIT_API_SECRET": None, "LIVEKIT_WEBHOOK_SECRET": signing.SECRET})
    assert "no watcher" in daemon.log()
    dial(daemon, ringing())
    time.sleep(1.5)
    assert server.asked() == []


# ---- seldom, and not for ever ----

def test_a_phone_that_rings_for_ten_minutes_is_looked_at_seldom(watch, server):
    daemon = watch()
    call = CallMaker(started_s=int(time.time()) - 600)
    show(server, call)
    dial(daemon, call)
    server.wait_asked(1)
    time.sleep(3)
    assert len(server.asked("RoomService/ListParticipants")) == 1


def test_a_recording_that_is_never_told_of_is_given_up_after_a_day(watch, server):
    daemon = watch()
    call = CallMaker(started_s=int(time.time()) - 26 * 3600)
    info = {"egressId": "EG_1", "roomId": call.sid, "roomName": call.name, "status": "EGRESS_ACTIVE"}
    events = call.answered()
    events.insert(5, {"event": "egress_started", "id": "EV_egress", "createdAt": str(call.started_s + 2), "egressInfo": info})
    for event in events:
        daemon.post_event(event)
    server.wait_asked(1, "Egress/ListEgress")
    wait_for(lambda: daemon.database.count("call_facts", '"watchAtMs" IS NULL') == 1)
    asked = len(server.asked("Egress/ListEgress"))
    assert asked <= 2, "once, or once more where it came between two of the events"
    time.sleep(1.5)
    assert len(server.asked("Egress/ListEgress")) == asked


# ---- outcomed check ----

def check_line(outcomed_binary, folder, **env) -> str:
    done = subprocess.run([outcomed_binary, "check"], cwd=folder, env=environment(env), capture_output=True, text=True, timeout=60, check=False)
    return next(line for line in done.stdout.splitlines() if "LiveKit API" in line)


def test_check_asks_livekit(outcomed_binary, tmp_path, server):
    line = check_line(outcomed_binary, tmp_path, LIVEKIT_URL=server.url.replace("http:", "ws:"))
    assert line.startswith("ok") and server.url in line
    assert [r.method for r in server.asked()] == ["RoomService/ListRooms", "RoomService/ListParticipants"]


@pytest.mark.parametrize("env,expected", [
    ({}, "skip"), ({"LIVEKIT_URL": "nonsense"}, "no address"), ({"LIVEKIT_URL": "http://127.0.0.1:1"}, "unreachable"),
    ({"LIVEKIT_API_KEY": None, "LIVEKIT_API_SECRET": None, "LIVEKIT_WEBHOOK_SECRET": "secret"}, "no API key"),
    ({"LIVEKIT_API_SECRET": "not the secret"}, "denied"),
])
def test_check_says_what_is_wrong_with_livekit(outcomed_binary, tmp_path, server, env, expected):
    url = {} if expected == "skip" else {"LIVEKIT_URL": server.url}
    line = check_line(outcomed_binary, tmp_path, **(url | env))
    assert expected in line
    assert line.startswith("skip") == (expected in ("skip", "no API key"))
    assert "not the secret" not in line


@pytest.mark.parametrize("fault", ["302", "404", "429", "503", "garbage", "empty_object", "truncated", "wrong_type"])
def test_check_names_what_answers_instead(outcomed_binary, tmp_path, server, fault):
    server.fault = fault
    line = check_line(outcomed_binary, tmp_path, LIVEKIT_URL=server.url)
    assert line.startswith("FAIL") and ": " in line
