"""Who gets how much of the daemon: strangers less than those who have shown something genuine, nobody a place for longer than allowed, and a
proxy's word counts only where it is trusted. Other addresses are 127.0.0.2 and so on."""

import contextlib
import http.client
import json
import re
import socket
import time

import pytest

from support import signing
from support.daemon import WEBHOOK, Daemon, Database
from support.events import CallMaker

pytestmark = pytest.mark.integration

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(daemon: Daemon, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", daemon.port), timeout=10, source_address=(source, 0))


def is_closed(s: socket.socket, within_s: float = 0.3) -> bool:
    s.settimeout(within_s)
    try:
        return s.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def closed(sockets: list[socket.socket]) -> int:
    """How many were ended, a moment after."""
    time.sleep(0.2)
    return sum(is_closed(s, 0.001) for s in sockets)


def event_body() -> bytes:
    return json.dumps(CallMaker().event("room_started", 0)).encode()


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"", length: int | None = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    if method == "POST":
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(s: socket.socket) -> int:
    reply = http.client.HTTPResponse(s)
    reply.begin()
    reply.read()
    return reply.status


def refusals(daemon: Daemon, cause: str) -> float:
    return daemon.metrics().get(f'outcomed_http_refusals_total{{cause="{cause}"}}', 0)


def wait_refusal(daemon: Daemon, cause: str, count: float = 1, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while refusals(daemon, cause) < count:
        assert time.monotonic() < deadline, daemon.metrics()
        time.sleep(0.05)


@pytest.fixture
def many():
    """many(daemon, n, source) gives n open connections, closed at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda daemon, n, source: [stack.enter_context(connect(daemon, source)) for _ in range(n)]


# ---- connections ----

def test_strangers_have_a_quarter_each_and_half_together(start_daemon, many):
    daemon = start_daemon("--max-connections", "40", "--max-connections-per-address", "20")
    assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200  # 127.0.0.1 is known now
    strangers = {f"127.0.0.{n}": many(daemon, 8, f"127.0.0.{n}") for n in (2, 3, 4, 5, 6)}
    everybody = [s for sockets in strangers.values() for s in sockets]
    still = {source: len(sockets) - closed(sockets) for source, sockets in strangers.items()}
    assert max(still.values()) <= 5, "of one address"
    assert sum(still.values()) == 20, "of all strangers"
    assert refusals(daemon, "connections_of_address") + refusals(daemon, "connections_unauthenticated") <= 20
    known = many(daemon, 18, "127.0.0.1")
    assert closed(known) == 0, "who is known has the places that strangers do not get"
    assert len(everybody) - closed(everybody) == 20
    assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200


def test_a_stranger_makes_room_for_the_next_and_never_one_who_is_known(start_daemon, many):
    daemon = start_daemon("--max-connections", "8", "--max-connections-per-address", "8", "--request-timeout", "60")
    with contextlib.closing(daemon.connect()) as livekit:
        assert daemon.post_event(CallMaker().event("room_started", 0), connection=livekit).status == 200
        kept = livekit.sock
        old = many(daemon, 2, "127.0.0.2") + many(daemon, 2, "127.0.0.3")
        time.sleep(1.2)
        for source in ("127.0.0.4", "127.0.0.5", "127.0.0.6"):
            with connect(daemon, source) as s:
                s.sendall(GET)
                assert answer(s) == 200
        assert closed(old) >= 1
        assert daemon.post_event(CallMaker().event("room_started", 0), connection=livekit).status == 200
        assert livekit.sock is kept, "LiveKit's idle connection was left alone"


def test_one_who_fills_his_own_share_makes_room_for_himself(start_daemon, many):
    """Behind one address (a proxy that is not declared, say) slow strangers do not shut out the deliveries."""
    daemon = start_daemon("--max-connections", "40", "--max-connections-per-address", "8", "--request-timeout", "60", "--stall-timeout", "60")
    assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200
    idle, dripping = many(daemon, 4, "127.0.0.1"), many(daemon, 4, "127.0.0.1")
    for s in dripping:
        s.sendall(GET[:-2])
    time.sleep(1.3)
    for _ in range(6):
        assert daemon.post_event(CallMaker().event("room_started", 0)).status == 200
    assert closed(idle + dripping) >= 1


# ---- time ----

def test_who_falls_silent_in_the_midst_of_a_request_is_disconnected_before_its_time(start_daemon):
    daemon = start_daemon("--request-timeout", "60", "--stall-timeout", "1")
    body = event_body()
    head = request("POST", WEBHOOK, {"Host": "x"} | signing.sign(body), b"", len(body))
    for part in (GET[:-2], head, head + body[:-1]):
        with connect(daemon) as s:
            began = time.monotonic()
            s.sendall(part)
            assert is_closed(s, 10)
            assert 0.5 < time.monotonic() - began < 8
    assert refusals(daemon, "stalled") == 3


def test_who_drips_is_not_silent_but_has_a_total_time(start_daemon):
    daemon = start_daemon("--request-timeout", "3", "--stall-timeout", "1")
    with connect(daemon) as s:
        began = time.monotonic()
        s.sendall(GET[:-2])
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(60):
                s.sendall(b"X-A: y\r\n")
                time.sleep(0.2)
        assert time.monotonic() - began > 2.5
    assert refusals(daemon, "deadline") == 1


def test_a_request_line_that_drips_in_after_an_answer_has_a_requests_time(start_daemon):
    """libmicrohttpd takes such a connection for an idle one, which may be idle for two minutes."""
    daemon = start_daemon("--request-timeout", "2")
    with connect(daemon) as s:
        s.sendall(GET)
        assert answer(s) == 200
        began = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for byte in b"GET /" + b"a" * 100:
                s.sendall(bytes([byte]))
                time.sleep(0.1)
        assert time.monotonic() - began > 1.5
    wait_refusal(daemon, "deadline")


@pytest.mark.parametrize("part", ["head", "body", "idle"])
def test_who_closes_in_the_midst_frees_the_place_at_once(start_daemon, part):
    """Also where the end comes together with the last bytes, which libmicrohttpd does not see."""
    daemon = start_daemon("--request-timeout", "60", "--stall-timeout", "60")
    body = event_body()
    whole = request("POST", WEBHOOK, {"Host": "x"} | signing.sign(body), body)
    data = {"head": GET[:-2], "body": whole[:-1], "idle": GET[:1]}[part]
    sockets = [connect(daemon) for _ in range(10)]
    for s in sockets:
        s.setsockopt(socket.IPPROTO_TCP, 3, 1)  # TCP_CORK: bytes and end in one segment
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
    began = time.monotonic()
    assert all(is_closed(s, 10) for s in sockets)
    assert time.monotonic() - began < 5
    if part != "idle":
        wait_refusal(daemon, "broken_off", 10)


# ---- memory ----

def test_large_bodies_together_have_a_limit(start_daemon):
    daemon = start_daemon("--request-timeout", "60", "--stall-timeout", "60")
    body = event_body()
    size = 8 << 20
    announced = request("POST", WEBHOOK, {"Host": "x"} | signing.sign(body), b"{", size)
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(daemon)) for _ in range(4)]
        for s in held:
            s.sendall(announced)
        time.sleep(0.5)
        with connect(daemon) as s:
            s.sendall(announced)
            assert answer(s) == 503
        assert refusals(daemon, "body_memory") == 1
        assert daemon.post(body).status == 200, "small ones go on"
    deadline = time.monotonic() + 10
    while True:
        with connect(daemon) as s:
            s.sendall(announced)
            if is_closed(s, 0.3) is False:
                break
        assert time.monotonic() < deadline, "the memory comes back"


def test_a_forged_body_takes_no_memory(start_daemon):
    """Its token is looked at before it comes."""
    daemon = start_daemon()
    genuine = signing.sign(b"x" * 60000)
    with contextlib.ExitStack() as stack:
        for headers, kept in ((signing.sign(b"x" * 60000, secret="wrong"), 0), ({}, 0), (genuine, 20 * (60000 - 16384))):
            for _ in range(20):
                s = stack.enter_context(connect(daemon))
                s.sendall(request("POST", WEBHOOK, {"Host": "x"} | headers, b"x" * 59999, 60000))
            time.sleep(0.3)
            assert daemon.metrics()["outcomed_http_body_bytes"] == kept
    deadline = time.monotonic() + 5
    while daemon.metrics()["outcomed_http_body_bytes"] > 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---- whom a proxy speaks for ----

def refused_address(daemon: Daemon, headers: dict[str, str]) -> str:
    """The address in the log line of a webhook that is refused."""
    time.sleep(1.1)  # one line a second
    at = len(daemon.log())
    assert daemon.post(event_body(), headers).status == 401
    return re.search(r"webhook_refused .*?address=(\S+)", daemon.log()[at:])[1]


def test_the_address_in_the_log_is_the_one_a_trusted_proxy_names(start_daemon):
    daemon = start_daemon("--trusted-proxy", "127.0.0.1,10.0.0.0/8")
    assert refused_address(daemon, {"X-Forwarded-For": "198.51.100.9, 203.0.113.7, 10.1.2.3"}) == "203.0.113.7"
    assert refused_address(daemon, {"Forwarded": 'for=198.51.100.9, for="[2001:db8::7]:99";proto=https'}) == "2001:db8::7"
    assert refused_address(daemon, {}) == "127.0.0.1"


def test_nobody_else_is_believed(start_daemon):
    daemon = start_daemon("--trusted-proxy", "10.0.0.0/8,unix")
    assert refused_address(daemon, {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7"}) == "127.0.0.1"


def test_requests_of_one_client_behind_a_proxy_have_its_share(start_daemon, many):
    daemon = start_daemon("--trusted-proxy", "127.0.0.1", "--max-connections-per-address", "12", "--max-connections-unauthenticated", "5",
                          "--request-timeout", "60", "--stall-timeout", "60")
    body = event_body()

    def begun(client: str, headers: dict[str, str]) -> bytes:
        return request("POST", WEBHOOK, {"Host": "x", "X-Forwarded-For": client} | headers, body[:-1], len(body))

    connections = many(daemon, 12, "127.0.0.1")
    for s in connections[:3]:
        s.sendall(begun("203.0.113.7", {}))
    time.sleep(0.3)
    connections[3].sendall(begun("203.0.113.7", {}))
    assert answer(connections[3]) == 503
    assert refusals(daemon, "requests_of_address") == 1
    for s in connections[4:12]:
        s.sendall(begun("198.51.100.1", signing.sign(body)))
    time.sleep(0.3)
    for s in connections[4:12]:
        s.sendall(body[-1:])
        assert answer(s) == 200, "a genuine signature has more than a stranger's share"
    for s in connections[:3]:
        s.sendall(body[-1:])
        assert answer(s) == 401
    connections[0].sendall(begun("203.0.113.7", {}) + body[-1:])
    assert answer(connections[0]) == 401, "the share is free again"


def test_what_is_no_network_is_refused_at_start(start_daemon):
    with pytest.raises(AssertionError, match=r"outcomed ended with 2(.|\n)*10\.0\.0\.1/8"):
        start_daemon("--trusted-proxy", "127.0.0.1,10.0.0.1/8")


# ---- a browser on this machine ----

@pytest.fixture(scope="module")
def loopback(outcomed_binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("loopback")
    daemon = Daemon(outcomed_binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db"), ("--allowed-hosts", "calls.example,box",
                    "--trusted-proxy", "127.0.0.3"))
    yield daemon.start()
    daemon.finish()


READS = ["/api/calls?user_id=u", "/api/calls/x?user_id=u", "/api/calls/x/outcome?user_id=u", "/api/calls/x/events?user_id=u", "/metrics", "/nothing"]


def status(daemon: Daemon, method: str, target: str, headers: dict[str, str], source: str = "127.0.0.1", body: bytes = b"{}") -> int:
    with connect(daemon, source) as s:
        s.sendall(request(method, target, headers, body if method == "POST" else b""))
        return answer(s)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000", "[::1]", "Calls.Example:443", "box"])
def test_this_machines_own_names_are_answered(loopback: Daemon, host):
    assert [status(loopback, "GET", path, {"Host": host}) for path in READS] == [200, 404, 404, 404, 200, 404]


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", ""])
def test_a_name_that_a_strangers_page_may_have_is_not(loopback: Daemon, host):
    assert [status(loopback, "GET", path, {"Host": host}) for path in READS[:-1]] == [421] * 5
    assert status(loopback, "POST", "/api/marks?user_id=u", {"Host": host}) == 421
    assert status(loopback, "GET", f"http://{host or 'x'}/api/calls?user_id=u", {"Host": "localhost"}) == 421, "the target's name counts"
    assert status(loopback, "GET", "http://localhost/api/calls?user_id=u", {"Host": host}) == 200


def test_webhooks_and_health_are_answered_under_every_name(loopback: Daemon):
    body = event_body()
    assert status(loopback, "POST", WEBHOOK, {"Host": "evil.example"} | signing.sign(body), body=body) == 200
    assert [status(loopback, "GET", path, {"Host": "evil.example"}) for path in (WEBHOOK + "/health", "/livez", "/readyz", "/")] == [200] * 4


def test_what_a_proxy_passed_on_is_not_of_this_machine(loopback: Daemon):
    """Loopback is open without a token only to who is really here; a proxy's mark tells, whether the proxy is declared or not."""
    own = {"Host": "localhost"}
    for headers in ({"X-Forwarded-For": "203.0.113.7"}, {"Forwarded": "for=203.0.113.7"}, {"X-Forwarded-For": "127.0.0.1"}):
        assert [status(loopback, "GET", path, own | headers) for path in READS[:-1]] == [403] * 5
    assert status(loopback, "GET", READS[0], own | {"X-Forwarded-For": "203.0.113.7"}, source="127.0.0.3") == 403
    assert status(loopback, "GET", READS[0], own | {"X-Forwarded-For": "127.0.0.1"}, source="127.0.0.3") == 200
    body = event_body()
    assert status(loopback, "POST", WEBHOOK, {"X-Forwarded-For": "203.0.113.7", "Host": "x"} | signing.sign(body), body=body) == 200


def test_with_a_token_the_name_does_not_matter(start_daemon):
    daemon = start_daemon("--trusted-proxy", "127.0.0.1", env={"OUTCOMED_SERVICE_TOKEN": "t" * 40})
    token = {"Host": "evil.example", "Authorization": "Bearer " + "t" * 40}
    assert status(daemon, "GET", READS[0], token) == 200
    assert status(daemon, "GET", READS[0], token | {"X-Forwarded-For": "203.0.113.7"}) == 200
    assert status(daemon, "GET", READS[0], {"Host": "localhost"}) == 401
    away = {"Host": "x", "X-Forwarded-For": "203.0.113.7"}
    assert status(daemon, "GET", "/metrics", {"Host": "x"}) == 200
    assert status(daemon, "GET", "/metrics", away) == 401, "the metrics are open to this machine, not to the proxy's clients"
    assert status(daemon, "GET", "/metrics", away | token) == 200
