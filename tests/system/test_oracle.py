"""LiveKit's own Python SDK as an independent judge: what it signs we take, what we sign it takes, what it refuses we refuse."""

import base64
import datetime
import hashlib
import http.server
import json
import re
import subprocess
import threading

import pytest
from livekit import api

from support import captures as capture_files
from support import daemon as daemons
from support import signing
from support.daemon import Daemon
from support.events import CallMaker

pytestmark = pytest.mark.integration


def sdk_token(body: bytes, key: str = signing.KEY, secret: str = signing.SECRET) -> str:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return api.AccessToken(key, secret).with_sha256(digest).with_ttl(datetime.timedelta(minutes=5)).to_jwt()


def receiver() -> api.WebhookReceiver:
    return api.WebhookReceiver(api.TokenVerifier(signing.KEY, signing.SECRET))


def test_what_the_sdk_signs_is_taken(shared_daemon: Daemon):
    for event in CallMaker().answered():
        body = json.dumps(event).encode()
        token = sdk_token(body)
        receiver().receive(body.decode(), token)
        assert shared_daemon.post(body, {"Authorization": token}).json()["status"] in ("processed", "ignored")


def test_what_the_sdk_refuses_is_refused(shared_daemon: Daemon):
    body = json.dumps(CallMaker().event("room_started", 0)).encode()
    forgeries = [
        sdk_token(body, secret="another"),
        sdk_token(body, key="another"),
        sdk_token(body + b" "),
        api.AccessToken(signing.KEY, signing.SECRET).with_identity("u").with_grants(api.VideoGrants(room_join=True, room="r")).to_jwt(),
        signing.jwt({k: v for k, v in signing.webhook_claims(body).items() if k != "exp"}),
        signing.jwt(signing.webhook_claims(body, now=1_700_000_000)),
    ]
    for token in forgeries:
        with pytest.raises(Exception):  # noqa: B017 - each library has its own
            receiver().receive(body.decode(), token)
        assert shared_daemon.post(body, {"Authorization": token}).status == 401


@pytest.mark.unit
def test_the_tests_own_signatures_are_the_sdks():
    body = b'{"event":"room_started","id":"EV_1"}'
    assert receiver().receive(body.decode(), signing.sign(body)["Authorization"]).id == "EV_1"


@pytest.mark.unit
def test_recorded_bodies_are_what_the_sdk_reads():
    for capture in capture_files.all_captures():
        for d in capture.deliveries:
            read = receiver().receive(d.body.decode(), signing.sign(d.body)["Authorization"])
            assert read.id == d.event["id"]
            assert d.headers["Content-Length"] == str(len(d.body))


@pytest.fixture
def listener():
    """A receiver that judges each delivery with LiveKit's SDK; gives (url, the events read)."""
    taken: list = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                taken.append(receiver().receive(body.decode(), self.headers["Authorization"]))
                code = 200
            except Exception as refused:  # noqa: BLE001 - kept for the assertion
                taken.append(refused)
                code = 401
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", taken
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_send_signs_the_sdk_takes(outcomed_binary, listener, tmp_path):
    url, taken = listener
    capture = next(c for c in capture_files.all_captures() if c.name == "out-486")
    done = subprocess.run([outcomed_binary, "send", "--url", url, capture.path], env=daemons.environment(), cwd=tmp_path,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not re.search(rb"Sanitizer|runtime error", done.stderr)
    assert [getattr(e, "id", e) for e in taken] == [d.event["id"] for d in capture.deliveries]
