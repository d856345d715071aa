"""nginx in front, with the configuration that docs/HTTP.md shows: TLS and slow clients are the proxy's, addresses come through, and whatever it
forwards is read as it meant it."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest

from support import signing
from support.daemon import WEBHOOK, Daemon, Database
from support.events import CallMaker
from support.process import die_with_parent
from support.tls import Certificate

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOKEN = "t" * 40
CLIENT = "127.0.0.9"


def documented(folder: pathlib.Path, certificate: Certificate, port: int, upstream: str) -> str:
    """The page's blocks with this test's paths and ports, in a nginx.conf of our own."""
    blocks = re.search(r"```nginx\n(.*?)```", (ROOT / "docs/HTTP.md").read_text(), re.DOTALL)[1]
    changes = [(r"server unix:\S+;", f"server {upstream};"), (r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
               (r"/etc/ssl/calls\.pem", str(certificate.path)), (r"/etc/ssl/calls\.key", str(certificate.key_path))]
    for pattern, value in changes:
        blocks, n = re.subn(pattern, value, blocks)
        assert n == 1, pattern
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return (f"daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log warn;\nevents {{ worker_connections 512; }}\n"
            f"http {{\naccess_log off;\n{temporary}{blocks}}}\n")


class Front:
    def __init__(self, daemon: Daemon, certificate: Certificate, port: int) -> None:
        self.daemon, self.certificate, self.port = daemon, certificate, port

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=15, context=self.certificate.context(), source_address=(CLIENT, 0))

    def post(self, body: bytes, headers: dict[str, str], connection: http.client.HTTPSConnection) -> int:
        return self.daemon.request("POST", WEBHOOK, body, headers, connection).status


@pytest.fixture(scope="module", params=["unix", "tcp"])
def front(request, outcomed_binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("front")
    if os.geteuid() == 0:  # nginx's workers are another user then, and must reach the socket
        for part in (folder, *folder.parents[:2]):
            part.chmod(0o755)
    certificate = Certificate(folder, "front")
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as s:
        inner = s.getsockname()[1]
    path = folder / "o.sock"
    unix = request.param == "unix"
    listen, upstream, trusted = (f"unix:{path}", f"unix:{path}", "unix") if unix else (f"127.0.0.1:{inner}", f"127.0.0.1:{inner}", "127.0.0.1")
    daemon = Daemon(outcomed_binary, folder, Database("sqlite", f"sqlite:{folder}/outcomed.db"), ("--trusted-proxy", trusted),
                    {"OUTCOMED_SERVICE_TOKEN": TOKEN}, listen)
    daemon._find_port = lambda at, deadline: inner
    daemon.start(wait_ready=False)
    daemon.wait_log("call_outcomes routes registered", 30)
    if unix:
        path.chmod(0o666)
    configuration = folder / "nginx.conf"
    configuration.write_text(documented(folder, certificate, port, upstream))
    nginx = subprocess.Popen(["/usr/sbin/nginx", "-p", folder, "-e", folder / "error.log", "-c", configuration], stdin=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, preexec_fn=die_with_parent())
    made = Front(daemon, certificate, port)
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), contextlib.closing(made.connect()) as connection:
                if daemon.request("GET", "/readyz", connection=connection).status == 200:
                    break
            assert time.monotonic() < deadline and nginx.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield made
    finally:
        nginx.terminate()
        nginx.wait(20)
        daemon.finish()


def test_webhooks_come_through_byte_for_byte(front: Front):
    """Whole, on kept connections, from several clients: the signature covers the body."""

    def client(_) -> list[str]:
        ids = []
        with contextlib.closing(front.connect()) as connection:
            for event in CallMaker().answered():
                body = json.dumps(event, indent=1).encode()
                assert front.post(body, signing.sign(body), connection) == 200
                ids.append(event["id"])
        return ids

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        ids = {i for part in pool.map(client, range(6)) for i in part}
    assert len(ids) == 60
    assert ids <= front.daemon.database.event_ids()


def test_large_bodies_come_through(front: Front):
    with contextlib.closing(front.connect()) as connection:
        body = json.dumps(CallMaker().event("room_started", 0) | {"filler": "x" * 3_000_000}).encode()
        assert front.post(body, signing.sign(body), connection) == 200


def test_the_log_names_the_client_and_not_what_the_client_says(front: Front):
    time.sleep(1.1)
    at = len(front.daemon.log())
    with contextlib.closing(front.connect()) as connection:
        assert front.post(b"{}", {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.8"}, connection) == 401
    log = front.daemon.log()[at:]
    assert re.search(r"webhook_refused .*address=127\.0\.0\.9 ", log), log


def test_tokens_come_through(front: Front):
    with contextlib.closing(front.connect()) as connection:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert front.daemon.request("GET", "/metrics", None, bearer, connection).status == 200
        assert front.daemon.request("GET", "/api/calls?user_id=u", None, bearer, connection).status == 200
        assert front.daemon.request("GET", "/api/calls?user_id=u", connection=connection).status == 401


# Requests that servers read differently, each with a second one hidden in it. With nginx in front the hidden one is never answered.
HIDDEN = b"GET /metrics HTTP/1.1\r\nHost: calls.example.com\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
AMBIGUOUS = {
    "length_and_chunked": b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % (5 + len(HIDDEN)) + HIDDEN,
    "chunked_then_identity": b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "odd_chunked": b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two_lengths": b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "body_of_a_get": b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN,
    "chunk_extension": b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x;\n\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_nothing_hidden_in_a_request_is_answered(front: Front, name):
    with front.certificate.connect(front.port) as s:
        s.sendall(AMBIGUOUS[name])
        s.settimeout(1)
        got = b""
        with contextlib.suppress(OSError):
            while chunk := s.recv(65536):
                got += chunk
    assert b"outcomed_http_requests_total" not in got
