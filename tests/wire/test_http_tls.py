"""TLS on the listening socket: the same HTTP inside, the same limits, and a certificate that is read anew while it runs."""

import concurrent.futures
import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from support import signing
from support.daemon import WEBHOOK, Daemon, Database
from support.events import CallMaker
from support.tls import Certificate, name_of

pytestmark = pytest.mark.integration

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
REQUEST_TIMEOUT_S = 2


class TlsDaemon(Daemon):
    """Asked over TLS."""

    certificate: Certificate

    def connect(self, timeout_s: float = 30) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=self.certificate.context())


def start(binary, folder, *args: str) -> TlsDaemon:
    certificate = Certificate(folder, "first")
    daemon = TlsDaemon(binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db"), (*certificate.arguments(), *args))
    daemon.certificate = certificate
    return daemon.start()


@pytest.fixture(scope="module")
def tls(outcomed_binary, tmp_path_factory):
    daemon = start(outcomed_binary, tmp_path_factory.mktemp("tls"), "--request-timeout", str(REQUEST_TIMEOUT_S))
    yield daemon
    daemon.finish()


@pytest.fixture
def own(outcomed_binary, tmp_path):
    """own(*args): a daemon of this test's."""
    with contextlib.ExitStack() as stack:

        def make(*args: str) -> TlsDaemon:
            daemon = start(outcomed_binary, tmp_path, *args)
            stack.callback(daemon.finish)
            return daemon

        yield make


def everything(s: ssl.SSLSocket) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError, TimeoutError):
        while chunk := s.recv(65536):
            got += chunk
    return got


def statuses(got: bytes) -> list[int]:
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


def big_event(size: int) -> bytes:
    event = CallMaker().event("room_started", 0)
    event["filler"] = "x" * max(0, size - len(json.dumps(event)) - 14)
    return json.dumps(event).encode()


# ---- HTTP inside ----

@pytest.mark.parametrize("size", [0, 15000, 16384, 16385, 40000, 70000, 300_000, 3_000_000])
def test_bodies_of_every_size_go_through(tls: TlsDaemon, size):
    """Also those whose records are larger than libmicrohttpd's buffer: nothing may be left behind in GnuTLS's."""
    with contextlib.closing(tls.connect(10)) as connection:
        for _ in range(3):
            assert tls.post(big_event(size), connection=connection).status == 200


@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_requests_may_come_in_records_of_any_size(tls: TlsDaemon, piece):
    data = GET * 3 + LAST
    with tls.certificate.connect(tls.port) as s:
        for i in range(0, len(data), piece):
            s.sendall(data[i:i + piece])
        assert statuses(everything(s)) == [200] * 4


def test_pipelined_reads_that_wait_are_answered_in_order(tls: TlsDaemon):
    paths = ["/livez", "/api/calls?user_id=u", "/api/calls/x/outcome?user_id=u", "/metrics"] * 10
    with tls.certificate.connect(tls.port) as s:
        s.sendall(b"".join(f"GET {p} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for p in paths) + LAST)
        assert statuses(everything(s)) == [200, 200, 404, 200] * 10 + [200]


def test_many_clients_at_once_lose_nothing(tls: TlsDaemon):
    def client(_) -> list[str]:
        ids = []
        with contextlib.closing(tls.connect(20)) as connection:
            for _ in range(4):
                for event in CallMaker().answered():
                    assert tls.post_event(event, connection).status == 200
                    ids.append(event["id"])
        return ids

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        acknowledged = {i for ids in pool.map(client, range(12)) for i in ids}
    assert len(acknowledged) == 12 * 40
    assert acknowledged <= tls.database.event_ids()


@pytest.mark.parametrize(("head", "status"), [
    (b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400), (b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: y\r\n z\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400), (b"GET /livez HTTP/1.1\nHost: x\n\n", 400)])
def test_what_is_refused_outside_is_refused_inside(tls: TlsDaemon, head, status):
    with tls.certificate.connect(tls.port) as s:
        s.sendall(head + GET)
        assert statuses(everything(s)) == [status]


def test_a_client_that_goes_away_while_it_waits_harms_nobody(tls: TlsDaemon):
    for _ in range(10):
        body = big_event(100)
        headers = "".join(f"{k}: {v}\r\n" for k, v in signing.sign(body).items())
        with tls.certificate.connect(tls.port) as s:
            s.sendall(f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert tls.get("/readyz").status == 200


# ---- the handshake ----

@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_only_tls_1_2_and_1_3_are_spoken(tls: TlsDaemon):
    for version, spoken in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
        context = tls.certificate.context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        try:
            with tls.certificate.connect(tls.port, context) as s:
                s.sendall(LAST)
                assert statuses(everything(s)) == [200]
                assert spoken
        except (ssl.SSLError, ConnectionResetError):
            assert not spoken


def test_plain_http_gets_no_answer(tls: TlsDaemon):
    with socket.create_connection(("127.0.0.1", tls.port), timeout=10) as s:
        s.sendall(GET)
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := s.recv(4096):
                got += chunk
        assert b"HTTP" not in got


HELLO = bytes.fromhex("160301020001000001fc0303")


@pytest.mark.parametrize("first", [b"", HELLO[:3], HELLO], ids=["nothing", "part_of_a_record_head", "part_of_a_hello"])
def test_a_handshake_has_a_requests_time(tls: TlsDaemon, first):
    with socket.create_connection(("127.0.0.1", tls.port), timeout=20) as s:
        began = time.monotonic()
        s.sendall(first)
        with contextlib.suppress(ConnectionResetError):
            while s.recv(4096):
                pass
        assert REQUEST_TIMEOUT_S - 1 < time.monotonic() - began < REQUEST_TIMEOUT_S + 8
    assert tls.get("/livez").status == 200


def test_a_request_that_drips_has_a_total_time(tls: TlsDaemon):
    with tls.certificate.connect(tls.port, timeout_s=20) as s:
        began = time.monotonic()
        s.sendall(GET[:-2])
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 20:
                s.sendall(b"X-A: y\r\n")
                time.sleep(0.1)
        assert time.monotonic() - began < REQUEST_TIMEOUT_S + 8


# ---- the files ----

def replace(daemon: TlsDaemon, new: Certificate) -> None:
    """As certificate tools do: each file renamed into its place."""
    for source, target in ((new.path, daemon.certificate.path), (new.key_path, daemon.certificate.key_path)):
        copy = target.with_suffix(target.suffix + ".new")
        shutil.copy2(source, copy)
        copy.rename(target)


def test_a_new_certificate_is_shown_after_a_hangup_and_nobody_is_disconnected(own, tmp_path):
    daemon = own()
    first_context = daemon.certificate.context()
    second = Certificate(tmp_path, "second", "rsa")
    with daemon.certificate.connect(daemon.port) as old:
        assert name_of(old) == "first"
        expiry = daemon.metrics()["outcomed_tls_certificate_expiry_seconds"]
        assert 86400 < expiry - time.time() < 3 * 86400
        replace(daemon, second)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("the certificate was read anew")
        with second.connect(daemon.port) as s:
            assert name_of(s) == "second"
        with pytest.raises(ssl.SSLCertVerificationError):
            daemon.certificate.connect(daemon.port, first_context)
        old.sendall(GET)
        assert old.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_pair_that_does_not_fit_changes_nothing(own, tmp_path):
    daemon = own()
    second = Certificate(tmp_path, "second")
    key = daemon.certificate.key_path.read_bytes()
    context = daemon.certificate.context()
    for spoil, cause in ((lambda: shutil.copy(second.key_path, daemon.certificate.key_path), "is not the key of"),
                         (lambda: daemon.certificate.key_path.write_bytes(b"nonsense"), "holds no key"),
                         (lambda: daemon.certificate.key_path.chmod(0o644), "chmod 600"),
                         (lambda: daemon.certificate.key_path.unlink(), "cannot be opened")):
        spoil()
        daemon.signal(signal.SIGHUP)
        daemon.wait_log(cause)
        with daemon.certificate.connect(daemon.port, context) as s:
            assert name_of(s) == "first"
    daemon.certificate.key_path.write_bytes(key)
    daemon.certificate.key_path.chmod(0o600)
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("SIGHUP: nothing has changed")


def test_handshakes_and_requests_go_on_while_it_changes_all_the_time(own, tmp_path):
    daemon = own()
    both = [daemon.certificate, Certificate(tmp_path, "second", "rsa")]
    copies = [(c.path.read_bytes(), c.key_path.read_bytes()) for c in both]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def client(_) -> int:
        n = 0
        for _ in range(40):
            with daemon.certificate.connect(daemon.port, context) as s:
                s.sendall(LAST)
                n += statuses(everything(s)) == [200]
        return n

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(client, i) for i in range(4)]
        for turn in range(60):
            for path, data in zip((daemon.certificate.path, daemon.certificate.key_path), copies[turn % 2], strict=True):
                path.write_bytes(data)
            daemon.signal(signal.SIGHUP)
            time.sleep(0.02)
        assert [a.result() for a in answers] == [40] * 4
    assert daemon.log().count("the certificate was read anew") > 5
    daemon.certificate.path.write_bytes(copies[0][0])
    daemon.certificate.key_path.write_bytes(copies[0][1])


@pytest.mark.parametrize(("spoil", "said"), [
    (lambda c: c.key_path.chmod(0o644), "chmod 600"), (lambda c: c.key_path.unlink(), "cannot be opened"), (lambda c: c.path.write_text("x"), "holds no certificate"),
    (lambda c: c.key_path.write_bytes(c.path.read_bytes()), "holds no key"),
    (lambda c: shutil.copy(Certificate(c.path.parent, "other").path, c.path), "is not the key of the first certificate")],
    ids=["mode", "no_file", "no_certificate", "no_key", "another_key"])
def test_files_that_cannot_be_used_are_named_at_start(start_daemon, tmp_path, spoil, said):
    certificate = Certificate(tmp_path, "first")
    spoil(certificate)
    with pytest.raises(AssertionError, match=rf"outcomed ended with 2(.|\n)*{said}"):
        start_daemon(*certificate.arguments())


def test_half_a_configuration_is_refused(start_daemon, tmp_path):
    certificate = Certificate(tmp_path, "first")
    with pytest.raises(AssertionError, match="set both"):
        start_daemon(*certificate.arguments()[:2])
    with pytest.raises(AssertionError, match="is for TCP"):
        start_daemon(*certificate.arguments(), listen=f"unix:{tmp_path}/s")


def test_check_asks_over_tls_and_trusts_this_certificate_only(own, outcomed_binary, tmp_path):
    daemon = own()
    other = Certificate(tmp_path, "other")
    for path, passes in ((daemon.certificate.path, True), (other.path, False)):
        done = subprocess.run([outcomed_binary, "check", "--listen", f"127.0.0.1:{daemon.port}", "--database", daemon.database.url, "--tls-cert", path],
                              env=daemon.env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert ("none answers" not in done.stdout) == passes, done.stdout + done.stderr
        assert done.returncode == 0 or not passes, done.stdout
