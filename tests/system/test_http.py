"""The receiver, the read API and the pages beside them, as a client sees them."""

import datetime
import json
import re
import socket
import time
import urllib.parse

import pytest

from support import signing
from support.daemon import WEBHOOK, Daemon
from support.events import CallMaker

pytestmark = pytest.mark.integration

HEALTH = WEBHOOK + "/health"
COLUMNS = {"id", "userId", "livekitRoomName", "livekitRoomSid", "direction", "phoneNumber", "sipCallId", "duration", "startedAt", "endedAt",
           "status", "outcome", "recordingUrl", "metadata", "createdAt", "updatedAt"}
VERDICT = {"outcome", "rawOutcome", "reason", "confidence", "alternatives", "fault", "evidence", "rule", "rules", "explanation", "revision", "answeredAt",
           "answeredAtEarliest", "answeredAtLatest", "answeredSource", "ringSeconds", "talkSeconds"}
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$")


# ---- the pages beside ----

def test_health_says_exactly_what_the_older_module_said(shared_daemon: Daemon):
    reply = shared_daemon.get(HEALTH)
    assert (reply.status, reply.body) == (200, b'{"status":"healthy","service":"call_outcomes"}')
    assert reply.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize("path", [HEALTH, "/livez", "/readyz", "/metrics", "/api/calls?user_id=u", "/api/calls/RM_x/outcome?user_id=u",
                                  "/api/calls/RM_x?user_id=u", "/api/calls/RM_x/events?user_id=u"])
def test_head_is_get_without_a_body(shared_daemon: Daemon, path):
    get, head = shared_daemon.get(path), shared_daemon.request("HEAD", path)
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":
        assert head.headers["content-length"] == str(len(get.body))


@pytest.mark.parametrize("path", [WEBHOOK, HEALTH, "/api/calls", "/api/calls/RM_x/outcome", "/api/calls/RM_x", "/api/calls/RM_x/events", "/metrics"])
def test_options_names_the_methods(shared_daemon: Daemon, path):
    reply = shared_daemon.request("OPTIONS", path)
    assert reply.status in (200, 204)
    allowed = {m.strip() for m in reply.headers["allow"].split(",")}
    assert "OPTIONS" in allowed
    assert ("POST" in allowed) == (path == WEBHOOK)
    assert ("GET" in allowed) == (path != WEBHOOK)


def test_every_answer_has_a_content_length(shared_daemon: Daemon):
    """LiveKit's client gives a connection up after an empty chunked answer."""
    body = json.dumps(CallMaker().event("room_started", 0)).encode()
    replies = [shared_daemon.post(body), shared_daemon.post(body), shared_daemon.post(body, {}), shared_daemon.get("/nothing"),
               shared_daemon.get(HEALTH), shared_daemon.get("/metrics"), shared_daemon.get("/api/calls?user_id=u"),
               shared_daemon.get("/api/calls/x/outcome"), shared_daemon.request("DELETE", HEALTH)]
    for reply in replies:
        assert "transfer-encoding" not in reply.headers
        assert reply.headers["content-length"] == str(len(reply.body))


def test_live_and_ready(shared_daemon: Daemon):
    assert shared_daemon.get("/livez").status == 200
    assert shared_daemon.get("/readyz").status == 200


def test_metrics_are_prometheus_text_with_closed_labels(shared_daemon: Daemon):
    shared_daemon.post_event(CallMaker().event("room_started", 0))
    shared_daemon.post_event(CallMaker().event("an_event_of_tomorrow_" + "x" * 50, 0))
    reply = shared_daemon.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    page = reply.body.decode()
    names = set(re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE))
    assert {"outcomed_http_requests_total", "outcomed_http_refusals_total", "outcomed_signature_checks_total", "outcomed_events_total",
            "outcomed_event_results_total", "outcomed_ack_seconds", "outcomed_queue_depth", "outcomed_batch_events", "outcomed_open_calls",
            "outcomed_calls_total", "outcomed_store_up", "outcomed_build_info"} <= names
    for name in names:
        assert re.search(rf"^# HELP {name} \S", page, re.MULTILINE)
    for line in page.splitlines():
        assert re.match(r'^(# |\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [-+.\dInfNae]+$)', line), line
    assert "an_event_of_tomorrow" not in page
    values = shared_daemon.metrics()
    assert values["outcomed_store_up"] == 1
    assert values['outcomed_events_total{event="room_started"}'] >= 1
    assert values["outcomed_ack_seconds_count"] >= 2


# ---- the receiver ----

def test_an_answer_says_what_became_of_the_event(daemon: Daemon):
    event = CallMaker().event("room_started", 0)
    reply = daemon.post_event(event)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert set(reply.json()) == {"status", "event_id", "message"}
    assert (reply.json()["status"], reply.json()["event_id"]) == ("processed", event["id"])


def test_the_log_can_be_grepped_as_the_older_modules(daemon: Daemon):
    event = CallMaker().event("room_started", 0)
    daemon.post_event(event)
    daemon.post_event(event)
    log = daemon.wait_log("already processed")
    assert "call_outcomes" in log.split("call_completed")[0], "startup says that the routes are registered"
    lines = [line for line in log.splitlines() if "call_completed" in line and event["id"] in line]
    assert len(lines) == 2
    for line in log.splitlines():
        assert re.match(r"^ts=\S+ level=\w+ msg=", line), line


def test_content_type_and_agent_do_not_matter(shared_daemon: Daemon):
    for kind in ("application/webhook+json", "application/json", "text/plain", "application/x-www-form-urlencoded", None):
        body = json.dumps(CallMaker().event("room_started", 0)).encode()
        headers = {"Authorization": signing.sign(body)["Authorization"]} | ({"Content-Type": kind} if kind else {})
        assert shared_daemon.post(body, headers).status == 200, kind


def test_one_connection_serves_a_whole_call(shared_daemon: Daemon):
    connection = shared_daemon.connect()
    connection.connect()
    first = connection.sock
    for event in CallMaker().answered():
        assert shared_daemon.post_event(event, connection).status == 200
        assert connection.sock is first, "the connection was closed in between"
    connection.close()


def test_requests_sent_at_once_on_one_connection_are_answered_in_order(shared_daemon: Daemon):
    events = [CallMaker().event("room_started", 0) for _ in range(5)]
    data = b""
    for event in events:
        body = json.dumps(event).encode()
        headers = signing.sign(body) | ({"Connection": "close"} if event is events[-1] else {})
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        data += f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body
    got = shared_daemon.raw(data).decode()
    assert re.findall(r'"event_id":"([^"]+)"', got) == [e["id"] for e in events]


def test_a_body_in_pieces_and_in_chunks_is_taken(shared_daemon: Daemon):
    body = json.dumps(CallMaker().event("room_started", 0)).encode()
    head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nAuthorization: {signing.sign(body)['Authorization']}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 100]), body[i:i + 100]) for i in range(0, len(body), 100))
    with socket.create_connection(("127.0.0.1", shared_daemon.port), timeout=10) as s:
        for i in range(0, len(head), 40):
            s.sendall(head[i:i + 40].encode())
            time.sleep(0.002)
        s.sendall(chunks + b"0\r\n\r\n")
        assert s.recv(65536).startswith(b"HTTP/1.1 200")


def test_expect_continue_is_answered(shared_daemon: Daemon):
    body = json.dumps(CallMaker().event("room_started", 0)).encode()
    head = (f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nAuthorization: {signing.sign(body)['Authorization']}\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n")
    with socket.create_connection(("127.0.0.1", shared_daemon.port), timeout=10) as s:
        s.sendall(head.encode())
        first = s.recv(65536)
        assert first.startswith(b"HTTP/1.1 100")
        s.sendall(body)
        assert s.recv(65536).startswith(b"HTTP/1.1 200")


# ---- slow and many clients ----

def test_a_slow_request_is_ended_at_its_deadline(start_daemon):
    daemon = start_daemon("--request-timeout", "2")
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=10) as s:
        s.sendall(f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
        closed = False
        while not closed and time.monotonic() - began < 8:
            s.settimeout(0.3)
            try:
                s.sendall(b"x")
                closed = s.recv(4096) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
    assert closed
    assert 1.5 < time.monotonic() - began < 6


def test_slow_clients_starve_nobody(start_daemon):
    daemon = start_daemon()
    slow = []
    for _ in range(100):
        s = socket.create_connection(("127.0.0.1", daemon.port), timeout=10)
        s.sendall(f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Le".encode())
        slow.append(s)
    for event in CallMaker().answered():
        began = time.monotonic()
        assert daemon.post_event(event).status == 200
        assert time.monotonic() - began < 2
    for s in slow:
        s.close()


# ---- reading ----

@pytest.fixture
def call(daemon: Daemon) -> CallMaker:
    made = CallMaker()
    for event in made.answered():
        assert daemon.post_event(event).status == 200
    return made


def test_an_outcome_is_one_flat_object(daemon: Daemon, call: CallMaker):
    seen = daemon.wait_outcome(call.sid, call.tenant)
    assert COLUMNS | VERDICT <= set(seen)
    assert seen | {"userId": "user-1", "livekitRoomName": call.name, "livekitRoomSid": call.sid, "direction": "outbound", "status": "ended",
                   "phoneNumber": call.number, "sipCallId": call.call_id, "outcome": "completed", "confidence": "certain",
                   "recordingUrl": None} == seen
    for name in ("startedAt", "endedAt", "createdAt", "updatedAt"):
        assert TIME.match(seen[name]), name
    span = datetime.datetime.fromisoformat(seen["endedAt"]) - datetime.datetime.fromisoformat(seen["startedAt"])
    assert seen["duration"] == int(span.total_seconds())
    assert 0 <= seen["talkSeconds"] <= seen["duration"] if seen["talkSeconds"] is not None else True
    assert seen["revision"] >= 1
    assert seen["evidence"] and set(seen["evidence"][0]) == {"eventId", "says"}


def test_a_call_can_be_asked_for_by_its_id_and_by_its_room(daemon: Daemon, call: CallMaker):
    by_sid = daemon.wait_outcome(call.sid, call.tenant)
    assert daemon.outcome(by_sid["id"], call.tenant).json() == by_sid


def test_an_open_call_has_no_outcome_yet(daemon: Daemon):
    call = CallMaker(started_s=int(time.time()) - 2)
    for event in call.answered()[:5]:
        daemon.post_event(event)
    seen = daemon.outcome(call.sid, call.tenant).json()
    assert (seen["outcome"], seen["status"], seen["endedAt"]) == (None, "active", None)


def test_an_egress_adds_the_recording_and_nothing_else(daemon: Daemon, call: CallMaker):
    before = daemon.wait_outcome(call.sid, call.tenant)
    egress = {"event": "egress_ended", "id": "EV_egress_" + call.sid, "createdAt": str(call.started_s + 40), "egressInfo": {
        "egressId": "EG_1", "roomId": call.sid, "roomName": call.name, "status": "EGRESS_COMPLETE",
        "fileResults": [{"filename": "a.ogg", "location": "https://files.example.com/a.ogg"}]}}
    assert daemon.post_event(egress).json()["status"] == "processed"
    after = daemon.outcome(call.sid, call.tenant).json()
    assert after["recordingUrl"] == "https://files.example.com/a.ogg"
    for name in ("outcome", "reason", "confidence", "endedAt", "duration", "startedAt"):
        assert after[name] == before[name]


def test_an_event_with_only_a_room_name_finds_its_call(daemon: Daemon):
    call = CallMaker()
    egress = {"event": "egress_ended", "id": "EV_named_" + call.sid, "createdAt": str(call.started_s + 5), "egressInfo": {
        "egressId": "EG_2", "roomName": call.name, "status": "EGRESS_COMPLETE",
        "fileResults": [{"location": "https://files.example.com/early.ogg"}]}}
    assert daemon.post_event(egress).status == 200
    for event in call.answered():
        daemon.post_event(event)
    seen = daemon.wait_outcome(call.sid, call.tenant)
    deadline = time.monotonic() + 5
    while seen["recordingUrl"] is None and time.monotonic() < deadline:
        time.sleep(0.05)
        seen = daemon.outcome(call.sid, call.tenant).json()
    assert seen["recordingUrl"] == "https://files.example.com/early.ogg"
    assert daemon.database.query('SELECT "roomSid", processed FROM livekit_call_events WHERE "eventId" = ?', egress["id"]) == [(call.sid, 1)]


class TestList:
    @pytest.fixture
    def calls(self, daemon: Daemon) -> list[CallMaker]:
        """Twelve calls, one a minute, the newest last; every third is not answered."""
        made = [CallMaker(started_s=int(time.time()) - 86_400 + 60 * i, number=f"+120255501{i:02d}") for i in range(12)]
        for i, call in enumerate(made):
            for event in call.unanswered() if i % 3 == 0 else call.answered():
                assert daemon.post_event(event).status == 200
        for call in made:
            daemon.wait_outcome(call.sid, call.tenant)
        return made

    @staticmethod
    def ask(daemon: Daemon, **query) -> dict:
        reply = daemon.get("/api/calls?" + urllib.parse.urlencode({"user_id": "user-1"} | query))
        assert reply.status == 200, reply.body
        return reply.json()

    def sids(self, daemon: Daemon, **query) -> list[str]:
        return [c["livekitRoomSid"] for c in self.ask(daemon, **query)["calls"]]

    def test_newest_first_page_by_page_each_once(self, daemon, calls):
        newest_first = [c.sid for c in reversed(calls)]
        assert self.sids(daemon, limit=200) == newest_first
        seen, cursor = [], {}
        for _ in range(10):
            page = self.ask(daemon, limit=5, **cursor)
            seen += [c["livekitRoomSid"] for c in page["calls"]]
            if page["nextCursor"] is None:
                break
            cursor = {"cursor": page["nextCursor"]}
        assert seen == newest_first

    def test_a_new_call_does_not_shift_the_next_page(self, daemon, calls):
        page = self.ask(daemon, limit=5)
        late = CallMaker(started_s=int(time.time()) - 100)
        daemon.post_event(late.event("room_started", 0))
        second = self.sids(daemon, limit=200, cursor=page["nextCursor"])
        assert [c["livekitRoomSid"] for c in page["calls"]] + second == [c.sid for c in reversed(calls)]

    def test_filters(self, daemon, calls):
        unanswered = [c.sid for i, c in reversed(list(enumerate(calls))) if i % 3 == 0]
        assert self.sids(daemon, outcome="no_answer") == unanswered
        assert self.sids(daemon, direction="inbound") == []
        assert self.sids(daemon, direction="outbound", limit=200) == [c.sid for c in reversed(calls)]
        assert self.sids(daemon, status="active") == []

    def test_filter_on_the_number(self, daemon, calls):
        assert self.sids(daemon, phone_number=calls[3].number) == [calls[3].sid]
        assert self.sids(daemon, phone_number=calls[3].number[:-1]) == []

    def test_filter_on_the_room_name(self, daemon, calls):
        assert self.sids(daemon, room_name=calls[7].name) == [calls[7].sid]

    def test_filter_on_time_is_half_open(self, daemon, calls):
        starts = {c["livekitRoomSid"]: c["startedAt"] for c in self.ask(daemon, limit=200)["calls"]}
        between = self.sids(daemon, **{"from": starts[calls[2].sid], "to": starts[calls[5].sid]})
        assert between == [calls[4].sid, calls[3].sid, calls[2].sid]

    def test_what_the_list_shows_is_what_the_outcome_shows(self, daemon, calls):
        for row in self.ask(daemon, limit=3)["calls"]:
            single = daemon.outcome(row["livekitRoomSid"], "user-1").json()
            assert {k: single[k] for k in row if k in single} == row


# ---- bodies beyond what the queue holds by itself ----

def test_a_body_within_the_limit_is_taken_however_large_the_limit(start_daemon):
    daemon = start_daemon("--max-body=80MiB")
    event = CallMaker().event("room_started", 0) | {"note": "m" * (66 << 20)}
    assert daemon.post_event(event).status == 200
