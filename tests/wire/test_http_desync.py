"""Two readers, one connection: requests that a proxy and a server may cut differently, each with a genuine webhook hidden where a server out of step
would find it. Either the request is refused and the connection ends, or it means exactly one thing; the hidden one is never taken."""

import itertools
import json
import re
import socket
import threading
import time

import pytest

from support import signing
from support.daemon import WEBHOOK, Daemon, Database
from support.events import CallMaker

pytestmark = pytest.mark.integration

LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST " + WEBHOOK.encode() + b" HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def wire(outcomed_binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("desync")
    daemon = Daemon(outcomed_binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db"), ("--request-timeout", "2", "--stall-timeout", "1"))
    yield daemon.start()
    daemon.finish()


class Hidden:
    """A webhook that would be taken if it were read as a request."""

    def __init__(self) -> None:
        self.event = CallMaker().event("room_started", 0)
        body = json.dumps(self.event).encode()
        headers = "".join(f"{k}: {v}\r\n" for k, v in signing.sign(body).items())
        self.request = POST + headers.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def is_taken(self, daemon: Daemon) -> bool:
        return daemon.database.count("livekit_call_events", '"eventId" = ?', self.event["id"]) > 0


def exchange(daemon: Daemon, data: bytes, pieces: int | None, timeout_s: float = 6) -> tuple[bytes, bool]:
    """Everything that comes back, and whether the other side closed."""
    with socket.create_connection(("127.0.0.1", daemon.port), timeout=timeout_s) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        got = b""
        try:
            for part in (data[i:i + (pieces or len(data))] for i in range(0, len(data), pieces or len(data))):
                s.sendall(part)
                if pieces:
                    time.sleep(0.0005)
        except OSError:
            pass
        try:
            while chunk := s.recv(65536):
                got += chunk
        except TimeoutError:
            return got, False
        except ConnectionResetError:
            pass
        return got, True


def statuses(got: bytes) -> list[int]:
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", got) if s != b"100"]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


# What a case makes of the hidden request: bytes.
REFUSED = {
    # lengths
    "two_lengths": lambda h: POST + b"Content-Length: %d\r\nContent-Length: 0\r\n\r\n" % len(h) + h,
    "two_equal_lengths": lambda h: POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + h,
    "length_list": lambda h: POST + b"Content-Length: 0, 0\r\n\r\n" + h,
    "length_list_that_differs": lambda h: POST + b"Content-Length: 0, %d\r\n\r\n" % len(h) + h,
    "negative_length": lambda h: POST + b"Content-Length: -1\r\n\r\n" + h,
    "plus_length": lambda h: POST + b"Content-Length: +0\r\n\r\n" + h,
    "hex_length": lambda h: POST + b"Content-Length: 0x0\r\n\r\n" + h,
    "octal_looking_length_with_a_letter": lambda h: POST + b"Content-Length: 0o0\r\n\r\n" + h,
    "decimal_point_in_length": lambda h: POST + b"Content-Length: 0.0\r\n\r\n" + h,
    "exponent_in_length": lambda h: POST + b"Content-Length: 0e0\r\n\r\n" + h,
    "two_words_in_length": lambda h: POST + b"Content-Length: 0 0\r\n\r\n" + h,
    "semicolon_in_length": lambda h: POST + b"Content-Length: 0;0\r\n\r\n" + h,
    "quoted_length": lambda h: POST + b'Content-Length: "0"\r\n\r\n' + h,
    "empty_length": lambda h: POST + b"Content-Length:\r\n\r\n" + h,
    "length_over_64_bits": lambda h: POST + b"Content-Length: 18446744073709551616\r\n\r\n" + h,
    "length_that_wraps_32_bits": lambda h: POST + b"Content-Length: 4294967296\r\n\r\n" + h,
    "vertical_tab_before_length": lambda h: POST + b"Content-Length: \x0b0\r\n\r\n" + h,
    "nul_in_length": lambda h: POST + b"Content-Length: 0\x000\r\n\r\n" + h,
    "fullwidth_digit": lambda h: POST + "Content-Length: \uff10\r\n\r\n".encode() + h,
    "space_before_colon_of_length": lambda h: POST + b"Content-Length : %d\r\n\r\n" % len(h) + h,
    "tab_before_colon_of_length": lambda h: POST + b"Content-Length\t: %d\r\n\r\n" % len(h) + h,
    "length_folded": lambda h: POST + b"Content-Length:\r\n %d\r\n\r\n" % len(h) + h,
    "blank_behind_length": lambda h: POST + b"Content-Length: 0 \r\n\r\n" + h,
    # transfer codings
    "blank_behind_chunked": lambda h: POST + b"Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n" + h,
    "tab_behind_chunked": lambda h: POST + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n" + h,
    "length_and_chunked": lambda h: POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (len(h) + 5) + h,
    "chunked_and_length": lambda h: POST + b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n" % (len(h) + 5) + h,
    "chunked_twice_in_one": lambda h: POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + h,
    "chunked_in_two_lines": lambda h: POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + h,
    "chunked_then_identity": lambda h: POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + h,
    "identity": lambda h: POST + b"Transfer-Encoding: identity\r\n\r\n" + h,
    "identity_and_length": lambda h: POST + b"Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n" + h,
    "gzip": lambda h: POST + b"Transfer-Encoding: gzip\r\n\r\n" + h,
    "gzip_chunked": lambda h: POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + h,
    "chunked_gzip": lambda h: POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + h,
    "parameter_of_chunked": lambda h: POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n" + h,
    "quoted_chunked": lambda h: POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + h,
    "xchunked": lambda h: POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + h,
    "chunked_with_a_comma": lambda h: POST + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n" + h,
    "comma_chunked": lambda h: POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n" + h,
    "empty_coding": lambda h: POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n" + h,
    "coding_folded": lambda h: POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + h,
    "coding_folded_in_the_word": lambda h: POST + b"Transfer-Encoding: chunk\r\n ed\r\n\r\n0\r\n\r\n" + h,
    "vertical_tab_before_coding": lambda h: POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + h,
    "nul_behind_coding": lambda h: POST + b"Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n" + h,
    "space_before_colon_of_coding": lambda h: POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + h,
    "coding_hidden_behind_bare_lf": lambda h: POST + b"X-A: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + h,
    "coding_hidden_behind_bare_cr": lambda h: POST + b"X-A: y\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + h,
    "chunked_in_http_1_0": lambda h: POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + h,
    # chunks
    "chunk_size_not_hex": lambda h: CHUNKED + b"g\r\n\r\n0\r\n\r\n" + h,
    "chunk_size_0x": lambda h: CHUNKED + b"0x0\r\n\r\n" + h,
    "chunk_size_plus": lambda h: CHUNKED + b"+0\r\n\r\n" + h,
    "chunk_size_minus": lambda h: CHUNKED + b"-1\r\n\r\n" + h,
    "chunk_size_empty": lambda h: CHUNKED + b"\r\n\r\n" + h,
    "chunk_size_over_64_bits": lambda h: CHUNKED + b"10000000000000000\r\n\r\n" + h,
    "chunk_shorter_than_it_says": lambda h: CHUNKED + b"2\r\n{\r\n0\r\n\r\n" + h,
    "chunk_longer_than_it_says": lambda h: CHUNKED + b"1\r\n{}\r\n0\r\n\r\n" + h,
    "no_line_end_behind_a_chunk": lambda h: CHUNKED + b"2\r\n{}0\r\n\r\n" + h,
    # heads
    "two_hosts": lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + h,
    "no_host": lambda h: b"GET /livez HTTP/1.1\r\n\r\n" + h,
    "space_before_colon_of_host": lambda h: b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n" + h,
    "line_that_begins_with_a_space": lambda h: b"GET /livez HTTP/1.1\r\n X-A: y\r\nHost: x\r\n\r\n" + h,
    "folded": lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: y\r\n\tz\r\n\r\n" + h,
    "folded_over_nothing": lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: y\r\n \r\n\r\n" + h,
    "nul_in_a_name": lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-\x00A: y\r\n\r\n" + h,
    "no_colon": lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n" + h,
    "bare_lf": lambda h: b"GET /livez HTTP/1.1\nHost: x\n\n" + h,
    "bare_lf_ends_the_head": lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\n\n" + h,
    "bare_cr": lambda h: b"GET /livez HTTP/1.1\rHost: x\r\r" + h,
    "huge_head": lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n" + h,
    "ten_thousand_lines": lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 10_000 + b"\r\n" + h,
    "huge_target": lambda h: b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n" + h,
    "space_in_target": lambda h: b"GET /livez /x HTTP/1.1\r\nHost: x\r\n\r\n" + h,
    "nul_in_target": lambda h: b"GET /livez\x00 HTTP/1.1\r\nHost: x\r\n\r\n" + h,
    "version_0_9": lambda h: b"GET /livez\r\n" + h,
    "version_2": lambda h: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h,
    "version_1_10": lambda h: b"GET /livez HTTP/1.10\r\nHost: x\r\n\r\n" + h,
    "version_with_a_blank": lambda h: b"GET /livez HTTP/ 1.1\r\nHost: x\r\n\r\n" + h,
    "tls_on_a_plain_port": lambda h: bytes.fromhex("16030102000100") + b"\r\n\r\n" + h,
    "expectation": lambda h: POST + b"Expect: 200-ok\r\nContent-Length: 0\r\n\r\n" + h,
    "gzip_body": lambda h: POST + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n" + h,
    "connect": lambda h: b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n" + h,
    "ends_after_one_in_http_1_0": lambda h: b"GET /livez HTTP/1.0\r\n\r\n" + h,
    "ends_after_one_when_asked": lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + h,
}
# May be 200: the one request that these really are, after which the connection ends.
ENDS = {"ends_after_one_in_http_1_0", "ends_after_one_when_asked"}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("pieces", [None, 11], ids=["whole", "in_pieces"])
def test_what_can_be_read_two_ways_is_refused_and_the_connection_ends(wire: Daemon, name, pieces):
    hidden = Hidden()
    data = REFUSED[name](hidden.request)
    got, closed = exchange(wire, data + LAST, 5000 if pieces and len(data) > 20_000 else pieces)
    assert closed, got
    codes = statuses(got)
    assert len(set(codes)) <= 1, f"answered more than one request: {got!r}"
    assert all(400 <= code < 600 or (code == 200 and name in ENDS) for code in codes), got
    assert len(codes) == 1 or name in ("bare_cr", "tls_on_a_plain_port") or len(codes) == 2, got  # libmicrohttpd says some of its own twice
    assert not hidden.is_taken(wire)


# libmicrohttpd's own leniency in the framing of chunks: what it takes for the end of a chunked request may not be that to a proxy. So nothing
# that follows is read, whatever it is.
CHUNKED_OTHERWISE = {
    "bare_lf_behind_a_chunk": lambda h: CHUNKED + b"2\r\n{}\n0\r\n\r\n" + h,
    "cr_in_the_chunk_and_lf_behind": lambda h: CHUNKED + b"2\r\n{\r\n0\r\n\r\n" + h,
    "bare_lf_behind_a_size": lambda h: CHUNKED + b"2\n{}\r\n0\r\n\r\n" + h,
    "bare_lf_everywhere": lambda h: CHUNKED + b"2\n{}\n0\n\n" + h,
    "bare_lf_in_an_extension": lambda h: CHUNKED + b"2;a\n{}\r\n0\r\n\r\n" + h,
    "extension_that_hides_a_request": lambda h: CHUNKED + b"0;" + h.replace(b"\r\n", b"\n") + b"\r\n\r\n" + h,
    "blanks_around_a_size": lambda h: CHUNKED + b" 2 \r\n{}\r\n0\r\n\r\n" + h,
    "trailer_without_colon": lambda h: CHUNKED + b"2\r\n{}\r\n0\r\nX\r\n\r\n" + h,
    "trailer_that_is_a_request": lambda h: CHUNKED + b"2\r\n{}\r\n0\r\n" + h + b"\r\n\r\n" + h,
    "proper": lambda h: CHUNKED + b"2\r\n{}\r\n0\r\n\r\n" + h,
}


@pytest.mark.parametrize("name", CHUNKED_OTHERWISE)
@pytest.mark.parametrize("pieces", [None, 11], ids=["whole", "in_pieces"])
def test_nothing_behind_a_chunked_request_is_read(wire: Daemon, name, pieces):
    hidden = Hidden()
    got, closed = exchange(wire, CHUNKED_OTHERWISE[name](hidden.request) + LAST, pieces)
    assert closed
    assert len(statuses(got)) <= 2 and set(statuses(got)) <= {400} or statuses(got) == [401], got
    assert not hidden.is_taken(wire)


# Each means one thing: so many answers, then LAST's 200, but behind chunks. The hidden request is part of a body or of a value.
HARMLESS = {
    "in_the_body_of_a_get": (lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [200]),
    "in_the_body_of_a_head": (lambda h: b"HEAD /livez HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [200]),
    "in_the_body_for_a_path_that_is_not_there": (lambda h: b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [404]),
    "in_the_body_of_a_method_that_is_not_there": (lambda h: b"DELETE /livez HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [405]),
    "in_the_body_of_a_lower_case_method": (lambda h: b"post " + WEBHOOK.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [405]),
    "in_a_forged_webhook": (lambda h: POST + b"Content-Length: %d\r\n\r\n" % len(h) + h, [401]),
    "length_with_leading_zeros": (lambda h: POST + b"Content-Length: 000000000000%d\r\n\r\n" % len(h) + h, [401]),
    "length_with_blanks_before": (lambda h: POST + b"Content-Length: \t %d\r\n\r\n" % len(h) + h, [401]),
    "in_a_chunk": (lambda h: CHUNKED + chunk(h) + b"0\r\n\r\n", [401]),
    "in_chunks_of_one": (lambda h: CHUNKED + b"".join(chunk(bytes([b])) for b in h) + b"0\r\n\r\n", [401]),
    "chunk_size_with_zeros": (lambda h: CHUNKED + b"00000000%x\r\n" % len(h) + h + b"\r\n0000\r\n\r\n", [401]),
    "chunk_size_in_capitals": (lambda h: CHUNKED + b"%X\r\n" % len(h) + h + b"\r\n0\r\n\r\n", [401]),
    "chunked_in_capitals": (lambda h: POST + b"TRANSFER-ENCODING: ChUnKeD\r\n\r\n" + chunk(h) + b"0\r\n\r\n", [401]),
    "blanks_before_chunked": (lambda h: POST + b"Transfer-Encoding: \t chunked\r\n\r\n" + chunk(h) + b"0\r\n\r\n", [401]),
    "chunk_extension": (lambda h: CHUNKED + b'%x;a=b;c="d"\r\n' % len(h) + h + b"\r\n0;e\r\n\r\n", [401]),
    "trailers": (lambda h: CHUNKED + chunk(h) + b"0\r\nX-A: y\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n\r\n", [401]),
    "chunked_to_a_get": (lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(h) + b"0\r\n\r\n", [200]),
    "empty_lines_before": (lambda h: b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [200]),
    "upgrade_to_http_2": (lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
                          b"Content-Length: %d\r\n\r\n" % len(h) + h, [200]),
    "method_override": (lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: POST\r\nX-Original-URL: " + WEBHOOK.encode() +
                        b"\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [200]),
    "underscore_for_a_dash": (lambda h: b"GET /livez HTTP/1.1\r\nHost: x\r\nContent_Length: 0\r\nTransfer_Encoding: chunked\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [200]),
    "absolute_target_with_another_host": (lambda h: b"GET http://a.example/livez HTTP/1.1\r\nHost: b.example\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [200]),
    "continue_asked_for": (lambda h: POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [401]),
    "kept_alive_in_http_1_0": (lambda h: b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n" % len(h) + h, [200]),
}


@pytest.mark.parametrize("name", HARMLESS)
@pytest.mark.parametrize("pieces", [None, 13], ids=["whole", "in_pieces"])
def test_what_means_one_thing_is_read_as_that(wire: Daemon, name, pieces):
    hidden = Hidden()
    make, expected = HARMLESS[name]
    got, closed = exchange(wire, make(hidden.request) + LAST, pieces)
    assert closed
    chunked = b"chunked\r\n\r\n" in make(hidden.request).lower()
    assert statuses(got) == (expected if chunked else [*expected, 200]), got
    assert not hidden.is_taken(wire)


def test_pipelined_webhooks_are_each_taken_once_and_answered_in_order(wire: Daemon):
    several = [Hidden() for _ in range(30)]
    got, closed = exchange(wire, b"".join(h.request for h in several) + LAST, None)
    assert closed
    assert statuses(got) == [200] * 31
    assert re.findall(rb'"event_id":"([^"]+)"', got) == [h.event["id"].encode() for h in several]
    assert all(h.is_taken(wire) for h in several)


def test_a_webhook_that_waits_for_100_continue_gets_it(wire: Daemon):
    hidden = Hidden()
    head, _, body = hidden.request.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", wire.port), timeout=5) as s:
        s.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 100 ")
        s.sendall(body)
        assert statuses(s.recv(65536)) == [200]
    assert hidden.is_taken(wire)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_half_a_webhook_and_then_the_end_is_none(wire: Daemon, cut):
    hidden = Hidden()
    with socket.create_connection(("127.0.0.1", wire.port), timeout=8) as s:
        s.sendall(hidden.request[:int(len(hidden.request) * cut)])
        s.shutdown(socket.SHUT_WR)
        assert s.recv(65536) == b""
    assert not hidden.is_taken(wire)


def test_two_connections_do_not_mix(wire: Daemon):
    """Many at once, each in pieces: everybody gets the answer to its own."""
    wrong: list[str] = []

    def client(number: int) -> None:
        with socket.create_connection(("127.0.0.1", wire.port), timeout=10) as s:
            for turn in range(10):
                hidden = Hidden()
                for i in range(0, len(hidden.request), 97 + number):
                    s.sendall(hidden.request[i:i + 97 + number])
                got = b""
                while b"}" not in got:
                    got += s.recv(65536)
                if hidden.event["id"].encode() not in got:
                    wrong.append(f"{number}.{turn}: {got!r}")

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_every_kind_of_case_is_there():
    """The list that the tables were made from."""
    names = list(itertools.chain(REFUSED, HARMLESS))
    for word in ("length", "chunk", "folded", "nul", "space_before_colon", "hosts", "huge", "http_1_0", "bare_lf", "bare_cr", "version", "tls", "continue",
                 "absolute", "lower_case", "trailers", "extension", "gzip", "identity"):
        assert any(word in name for name in names), word
