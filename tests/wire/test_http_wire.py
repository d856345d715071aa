"""Requests byte by byte: what RFC 9112 forbids is refused and counted, and no connection is ever out of step afterwards. The store does not
matter here, so it is SQLite."""

import json
import pathlib
import re
import socket
import time

import pytest

from support import signing
from support.daemon import WEBHOOK, Daemon, Database
from support.events import CallMaker

pytestmark = pytest.mark.integration

MAX_BODY = 200_000
REQUEST_TIMEOUT_S = 2
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
READ = b"GET /api/calls?user_id=u HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def wire(outcomed_binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wire")
    daemon = Daemon(outcomed_binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db"),
                    ("--max-body", str(MAX_BODY), "--request-timeout", str(REQUEST_TIMEOUT_S)))
    yield daemon.start()
    daemon.finish()


def exchange(daemon: Daemon, data: bytes, timeout_s: float = 3, pieces: int | None = None) -> tuple[bytes, bool]:
    """Everything that comes back, and whether the other side closed."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=timeout_s) as s:
        try:
            for i in range(0, len(data), pieces or len(data)):
                s.sendall(data[i:i + (pieces or len(data))])
                if pieces and i // pieces % 4 == 0:
                    time.sleep(0.001)
        except (BrokenPipeError, ConnectionResetError):
            pass
        got = b""
        try:
            while chunk := s.recv(65536):
                got += chunk
        except TimeoutError:
            return got, False
        except ConnectionResetError:
            pass
        return got, True


def statuses(got: bytes) -> list[int]:
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


def post(head: bytes, body: bytes = b"{}", path: str = WEBHOOK) -> bytes:
    return b"POST " + path.encode() + b" HTTP/1.1\r\n" + head + b"\r\n" + body


# name, bytes, status, cause as counted (None: libmicrohttpd answers by itself, see docs/HTTP.md)
REFUSED = [
    ("no_host", b"GET /livez HTTP/1.1\r\n\r\n", 400, "no_host"),
    ("two_hosts", b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400, "host_repeated"),
    ("two_hosts_spelled_otherwise", b"GET /livez HTTP/1.1\r\nHost: x\r\nhOST: y\r\n\r\n", 400, "host_repeated"),
    ("two_lengths", post(b"Host: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n"), 400, "length_repeated"),
    ("two_lengths_that_differ", post(b"Host: x\r\nContent-Length: 2\r\nContent-Length: 40\r\n"), 400, "length_repeated"),
    ("length_and_chunked", post(b"Host: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"), 400,
     "length_and_encoding"),
    ("chunked_and_length", post(b"Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n", b"2\r\n{}\r\n0\r\n\r\n"), 400,
     "length_and_encoding"),
    ("gzip_chunked", post(b"Host: x\r\nTransfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 501, "transfer_encoding"),
    ("identity_encoding", post(b"Host: x\r\nTransfer-Encoding: identity\r\n"), 501, "transfer_encoding"),
    ("chunked_twice", post(b"Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 501,
     "transfer_encoding"),
    ("chunked_in_1_0", b"POST /livez HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501, "transfer_encoding"),
    ("vertical_tab_chunked", post(b"Host: x\r\nTransfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n"), 400, "bad_header"),
    ("space_before_colon", post(b"Host: x\r\nContent-Length : 2\r\n"), 400, "bad_header"),
    ("space_in_name", b"GET /livez HTTP/1.1\r\nHost: x\r\nX A: y\r\n\r\n", 400, "bad_header"),
    ("empty_name", b"GET /livez HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400, "bad_header"),
    ("folded_line", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: y\r\n z\r\n\r\n", 400, "bad_header"),
    ("folded_into_a_length", post(b"Host: x\r\nContent-Length: 2\r\n 0\r\n"), 400, "bad_header"),
    ("folded_into_a_name", post(b"Host: x\r\nTransfer-Encodin: chunked\r\n g\r\n", b"0\r\n\r\n"), 400, "bad_header"),
    ("last_line_folded", b"GET /livez HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 400, "bad_header"),
    ("nul_in_value", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: y\0z\r\n\r\n", 400, "bad_header"),
    ("nul_in_last_value", b"GET /livez HTTP/1.1\r\nHost: x\0\r\n\r\n", 400, "bad_header"),
    ("nul_in_length", post(b"Host: x\r\nContent-Length: 2\0 0\r\n"), 400, "bad_header"),
    ("bare_cr_in_value", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: y\rContent-Length: 5\r\n\r\n", 400, "bad_header"),
    ("control_character_in_value", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: \x01\r\n\r\n", 400, "bad_header"),
    ("delete_in_value", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: \x7f\r\n\r\n", 400, "bad_header"),
    ("bare_lf_in_head", b"GET /livez HTTP/1.1\r\nHost: x\nX-A: y\r\n\r\n", 400, "bad_header"),
    ("bare_lf_everywhere", b"GET /livez HTTP/1.1\nHost: x\n\n", 400, "bad_header"),
    ("bare_lf_at_the_end", b"GET /livez HTTP/1.1\r\nHost: x\r\n\n", 400, "bad_header"),
    ("odd_method", b"G(T /livez HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_header"),
    ("two_authorizations", post(b"Host: x\r\nAuthorization: a\r\nAuthorization: b\r\nContent-Length: 2\r\n"), 400, "header_repeated"),
    ("expect_something", post(b"Host: x\r\nExpect: 200-ok\r\nContent-Length: 2\r\n"), 417, "expectation"),
    ("gzip_body", post(b"Host: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n"), 415, "content_encoding"),
    ("length_over_the_limit", post(b"Host: x\r\nContent-Length: 999999999\r\n", b""), 413, "body_too_large"),
    ("length_near_64_bits", post(b"Host: x\r\nContent-Length: 18446744073709551614\r\n", b""), 413, "body_too_large"),
    ("space_in_target", b"GET /live z HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_target"),
    ("two_spaces_before_target", b"GET  /livez HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_target"),
    ("tab_in_target", b"GET /livez\t HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_target"),
    ("nul_in_target", b"GET /livez\0/x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_target"),
    ("raw_utf8_in_target", b"GET /liv\xc3\xa9z HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_target"),
    ("fragment_in_target", b"GET /livez#x HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_target"),
    ("target_without_slash", b"GET livez HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_target"),
    ("authority_as_target", b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400, "bad_target"),
    ("target_too_long", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "target_too_long"),
    ("two_lengths_in_one", post(b"Host: x\r\nContent-Length: 2, 2\r\n"), 400, None),
    ("signed_length", post(b"Host: x\r\nContent-Length: +2\r\n"), 400, None),
    ("negative_length", post(b"Host: x\r\nContent-Length: -2\r\n"), 400, None),
    ("hex_length", post(b"Host: x\r\nContent-Length: 0x2\r\n"), 400, None),
    ("empty_length", post(b"Host: x\r\nContent-Length: \r\n"), 400, None),
    ("length_over_64_bits", post(b"Host: x\r\nContent-Length: 99999999999999999999\r\n"), 413, None),
    ("line_without_colon", b"GET /livez HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n", 400, None),
    ("head_too_large", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 40000 + b"\r\n\r\n", 431, None),
    ("line_too_long", b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, None),
    ("version_2", b"GET /livez HTTP/2.0\r\nHost: x\r\n\r\n", 505, None),
    ("http_2_preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, None),
    ("version_in_lower_case", b"GET /livez http/1.1\r\nHost: x\r\n\r\n", 400, None),
    ("version_0_9", b"GET /livez\r\n\r\n", 400, None),
    ("bad_chunk_size", post(b"Host: x\r\nTransfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"), 400, None),
    ("chunk_longer_than_it_says", post(b"Host: x\r\nTransfer-Encoding: chunked\r\n", b"1\r\n{}\r\n0\r\n\r\n"), 400, None),
    ("chunk_size_over_64_bits", post(b"Host: x\r\nTransfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n"), 413, None),
]


@pytest.mark.parametrize(("data", "status", "cause"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
@pytest.mark.parametrize("pieces", [None, 7], ids=["whole", "in_pieces"])
def test_what_is_not_http_is_refused_once_and_the_connection_ends(wire: Daemon, data, status, cause, pieces):
    """A second request right behind it, which a server out of step would answer, gets nothing."""
    if pieces and len(data) > 2000:
        pieces = 3000
    before = wire.metrics()
    got, closed = exchange(wire, data + GET, pieces=pieces)
    assert statuses(got) == [status] or (not cause and set(statuses(got)) == {status}), got  # libmicrohttpd says some of its own twice
    assert closed
    assert re.search(rb"^content-length: \d+\r$", got, re.MULTILINE | re.IGNORECASE)
    if cause:
        name = f'outcomed_http_refusals_total{{cause="{cause}"}}'
        assert wire.metrics()[name] - before.get(name, 0) == 1
        assert b"Connection: close\r\n" in got
        problem = json.loads(got.partition(b"\r\n\r\n")[2])
        assert (problem["status"], problem["type"]) == (status, "about:blank")


def test_every_cause_that_answers_has_a_case():
    causes = {row[3] for row in REFUSED}
    assert {"bad_target", "target_too_long", "bad_header", "no_host", "host_repeated", "length_repeated", "length_and_encoding",
            "transfer_encoding", "header_repeated", "expectation", "content_encoding", "body_too_large"} <= causes


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0\0\0\0\r\n\r\n", b"SSH-2.0-x\r\n", b"\r\n" * 50 + b"x\r\n"],
                         ids=["tls", "nul", "ssh", "empty_lines"])
def test_what_is_no_request_at_all_is_dropped(wire: Daemon, data):
    got, closed = exchange(wire, data + b"\r\n\r\n", timeout_s=10)
    assert closed
    assert statuses(got) in ([], [400])


# ---- what is allowed ----

GOOD = [
    ("plain", GET),
    ("blanks_around_a_value", b"GET /livez HTTP/1.1\r\nHost: \t x \t \r\nX-A:y\r\n\r\n"),
    ("empty_value", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A:\r\n\r\n"),
    ("empty_host", b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n"),
    ("absolute_target", b"GET http://example.org/livez HTTP/1.1\r\nHost: example.org\r\n\r\n"),
    ("empty_line_first", b"\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("utf8_in_a_value", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: \xc3\xa9\r\n\r\n"),
    ("cookies", b"GET /livez HTTP/1.1\r\nHost: x\r\nCookie: a=b; c=\"d\"\r\nX-A: y\r\n\r\n"),
    ("many_headers", b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(100)) + b"\r\n"),
    ("minor_version_of_tomorrow", b"GET /livez HTTP/1.2\r\nHost: x\r\n\r\n"),
    ("a_body_that_nobody_wants", b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
]


@pytest.mark.parametrize("data", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
@pytest.mark.parametrize("pieces", [None, 1, 5], ids=["whole", "byte_by_byte", "in_pieces"])
def test_what_is_allowed_is_answered_and_the_connection_goes_on(wire: Daemon, data, pieces):
    got, closed = exchange(wire, data + LAST, pieces=pieces)
    assert (statuses(got), closed) == ([200, 200], True), got


def test_http_1_0_needs_no_host_and_ends_the_connection(wire: Daemon):
    got, closed = exchange(wire, b"GET /livez HTTP/1.0\r\n\r\n")
    assert (statuses(got), closed) == ([200], True)


def test_options_of_the_server(wire: Daemon):
    got, _ = exchange(wire, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert statuses(got) == [200]
    assert b"Allow: GET, HEAD, POST, OPTIONS\r\n" in got
    assert b"Content-Length: 0\r\n" in got


def test_a_client_that_stops_sending_still_gets_its_answer(wire: Daemon):
    """Half-closed after the request, as `nc` does: reads and the receiver alike."""
    body = json.dumps(CallMaker().event("room_started", 0)).encode()
    token = signing.sign(body)["Authorization"].encode()
    request = post(b"Host: x\r\nAuthorization: " + token + b"\r\nContent-Length: %d\r\n" % len(body), body)
    for data in (GET, READ, request):
        with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            got = b""
            while chunk := s.recv(65536):
                got += chunk
        assert statuses(got) == [200], got


def test_a_client_that_goes_away_while_it_waits_harms_nobody(wire: Daemon):
    for _ in range(20):
        body = json.dumps(CallMaker().event("room_started", 0)).encode()
        token = signing.sign(body)["Authorization"].encode()
        with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.sendall(post(b"Host: x\r\nAuthorization: " + token + b"\r\nContent-Length: %d\r\n" % len(body), body))
    assert wire.get("/readyz").status == 200


# ---- bodies ----

def signed_post(body: bytes, extra: bytes = b"") -> bytes:
    token = signing.sign(body)["Authorization"].encode()
    return post(b"Host: x\r\nAuthorization: " + token + b"\r\n" + extra + b"Content-Length: %d\r\n" % len(body), body)


def big_event(size: int) -> bytes:
    event = CallMaker().event("room_started", 0)
    event["filler"] = "x" * (size - len(json.dumps(event)) - 14)
    body = json.dumps(event).encode()
    return body + b" " * (size - len(body))


def test_a_body_of_exactly_the_limit_is_taken(wire: Daemon):
    got, _ = exchange(wire, signed_post(big_event(MAX_BODY)) + LAST, timeout_s=10)
    assert statuses(got) == [200, 200]


def test_a_body_one_over_the_limit_gets_413_after_it_was_read(wire: Daemon):
    """Its sender sees the 413, not a reset."""
    got, closed = exchange(wire, signed_post(big_event(MAX_BODY + 1)) + GET)
    assert (statuses(got), closed) == ([413], True)


def test_a_body_over_the_limit_with_expect_is_refused_before_it_is_sent(wire: Daemon):
    got, closed = exchange(wire, post(b"Host: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n" % (MAX_BODY + 1), b""))
    assert (statuses(got), closed) == ([413], True)


def test_chunks_beyond_twice_the_limit_are_not_read_on(wire: Daemon):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    got, closed = exchange(wire, post(b"Host: x\r\nTransfer-Encoding: chunked\r\n", chunk * (2 * MAX_BODY // 0x10000 + 3)))
    assert closed
    assert statuses(got) in ([], [413])


def test_chunk_extensions_and_trailers_are_ignored(wire: Daemon):
    body = json.dumps(CallMaker().event("room_started", 0)).encode()
    token = signing.sign(body)["Authorization"].encode()
    chunks = b"%x;name=value\r\n%s\r\n0\r\nX-Trailer: y\r\n\r\n" % (len(body), body)
    got, _ = exchange(wire, post(b"Host: x\r\nAuthorization: " + token + b"\r\nTransfer-Encoding: chunked\r\n", chunks) + LAST)
    assert statuses(got) == [200], "and the connection ends"


def test_a_large_body_without_a_genuine_token_is_not_kept(wire: Daemon):
    """Up to 64 KiB are taken before the token is looked at; what comes after that is dropped."""
    body = big_event(MAX_BODY)
    forged = signing.sign(body, secret="another secret")["Authorization"].encode()
    data = post(b"Host: x\r\nAuthorization: " + forged + b"\r\nContent-Length: %d\r\n" % len(body), body)
    got, closed = exchange(wire, data + GET)
    assert (statuses(got), closed) == ([401], True)
    name = 'outcomed_signature_checks_total{check="secret_mismatch"}'
    assert wire.metrics()[name] >= 1


def test_a_large_altered_body_is_refused(wire: Daemon):
    body = big_event(MAX_BODY)
    got, _ = exchange(wire, signed_post(body).replace(b"xxxx", b"xxxy", 1))
    assert statuses(got) == [401]


# ---- answers ----

def test_head_has_the_headers_of_get_and_no_body(wire: Daemon):
    get, _ = exchange(wire, GET + LAST)
    head, _ = exchange(wire, GET.replace(b"GET", b"HEAD") + LAST)
    date = re.compile(rb"Date: [^\r]*\r\n")
    first = head[:head.index(b"\r\n\r\n") + 4]
    assert date.sub(b"", first) == date.sub(b"", get[:get.index(b"\r\n\r\n") + 4])
    assert statuses(head) == [200, 200]
    assert head[len(first):].startswith(b"HTTP/1.1 200")


def test_pipelined_reads_are_answered_in_order(wire: Daemon):
    paths = ["/livez", "/api/calls?user_id=u", "/readyz", "/api/calls/x/outcome?user_id=u", "/nothing", "/livez"] * 5
    got, _ = exchange(wire, b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % p.encode() for p in paths) + LAST, 10)
    assert statuses(got) == [200, 200, 200, 404, 404, 200] * 5 + [200]


# ---- time ----

def closed_after(s: socket.socket, limit_s: float) -> float:
    began = time.monotonic()
    s.settimeout(limit_s)
    try:
        while s.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - began


@pytest.mark.parametrize("first", [b"", b"GET", GET[:-2], post(b"Host: x\r\nContent-Length: 100\r\n", b"{")],
                         ids=["nothing", "part_of_a_line", "part_of_a_head", "part_of_a_body"])
def test_who_does_not_finish_in_time_is_disconnected(wire: Daemon, first):
    with socket.create_connection(("127.0.0.1", wire.port)) as s:
        s.sendall(first)
        assert REQUEST_TIMEOUT_S - 0.5 < closed_after(s, 10) < REQUEST_TIMEOUT_S + 3


def test_dripping_does_not_win_time(wire: Daemon):
    with socket.create_connection(("127.0.0.1", wire.port)) as s:
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100):
                s.sendall(b"X-A: y\r\n")
                time.sleep(0.1)
        assert REQUEST_TIMEOUT_S - 0.5 < time.monotonic() - began < REQUEST_TIMEOUT_S + 3


def test_between_requests_a_connection_may_be_idle_longer_than_a_request_may_take(wire: Daemon):
    with socket.create_connection(("127.0.0.1", wire.port), timeout=3) as s:
        s.sendall(GET)
        assert statuses(s.recv(65536)) == [200]
        time.sleep(REQUEST_TIMEOUT_S + 2)
        s.sendall(GET)
        assert statuses(s.recv(65536)) == [200]


def test_one_who_drips_does_not_hold_up_the_end(start_daemon):
    daemon = start_daemon("--request-timeout", str(REQUEST_TIMEOUT_S))
    with socket.create_connection(("127.0.0.1", daemon.port)) as s:
        s.sendall(GET[:-2])
        time.sleep(0.2)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < REQUEST_TIMEOUT_S + 4


def test_descriptors_come_back_however_connections_end(wire: Daemon):
    def descriptors() -> int:
        return len(list(pathlib.Path(f"/proc/{wire.process.pid}/fd").iterdir()))

    wire.get("/api/calls?user_id=u")
    time.sleep(1.5)
    before = descriptors()
    for n in range(100):
        s = socket.create_connection(("127.0.0.1", wire.port), timeout=5)
        s.sendall((GET, GET[:9], b"", READ, b"\0" * 9, GET * 50)[n % 6])
        if n % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if n % 6 == 0:
            s.recv(10)
        s.close()
    deadline = time.monotonic() + 5
    while descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert descriptors() <= before
    assert wire.metrics()["outcomed_http_connections"] == 1


def test_idle_connections_make_room_when_all_places_are_taken(start_daemon):
    daemon = start_daemon("--max-connections", "20", "--request-timeout", "60")
    idle = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(20)]
    try:
        time.sleep(1.5)
        for _ in range(5):
            assert daemon.get("/livez").status == 200
    finally:
        for s in idle:
            s.close()


def test_a_unix_socket_is_for_its_group_only_and_gone_afterwards(outcomed_binary, tmp_path):
    path = tmp_path / "o.sock"
    daemon = Daemon(outcomed_binary, tmp_path, Database("sqlite", f"sqlite:{tmp_path}/outcomed.db"), listen=f"unix:{path}")
    daemon._find_port = lambda at, deadline: 0
    daemon.start(wait_ready=False)
    try:
        deadline = time.monotonic() + 20
        while not path.exists() or "routes registered" not in daemon.log():  # bound is not listening yet
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert path.stat().st_mode & 0o777 == 0o660
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(str(path))
            s.sendall(GET)
            assert statuses(s.recv(65536)) == [200]
    finally:
        daemon.finish()
    assert not path.exists()
