"""The snippets of examples/: they tell a real outcomed what LiveKit told them, in the shapes that a real LiveKit answered in (captures/api)."""

import asyncio
import http.server
import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import types

import pytest

from support.daemon import Daemon
from support.events import CallMaker, new_id

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples"
REPLIES = [json.loads(line) for line in (ROOT / "tests/captures/api/dialer-replies.jsonl").read_text().splitlines()]
DIALED = [r for r in REPLIES if r["method"].endswith("/CreateSIPParticipant")]
REFUSED = [r for r in DIALED if r["status"] != 200]


def load(name: str) -> types.ModuleType:
    """A snippet as it stands, with the one beside it that it imports."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def snippet(monkeypatch):
    names = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    yield load
    for name in set(sys.modules) - names:
        if name in ("marks", "dialer", "agent"):
            del sys.modules[name]


class TwirpError(Exception):
    """As livekit.api's: code, message, status, metadata."""

    def __init__(self, reply: dict) -> None:
        body = json.loads(reply["body"])
        self.code, self.message, self.status, self.metadata = body["code"], body["msg"], reply["status"], body.get("meta", {})


class LiveKit:
    """Stands in for livekit.api.LiveKitAPI: answers with a recorded reply, after the call's webhooks have come."""

    def __init__(self, daemon: Daemon, call: CallMaker, reply: dict) -> None:
        self.sip, self.daemon, self.call, self.reply = self, daemon, call, reply

    async def create_sip_participant(self, request):
        for event in attempt(self.call):
            assert self.daemon.post_event(event).status == 200
        if self.reply["status"] != 200:
            raise TwirpError(self.reply)
        return types.SimpleNamespace(sip_call_id=self.call.call_id, room_name=self.call.name)


def attempt(call: CallMaker) -> list[dict]:
    """Dialed a moment ago and refused now."""
    left = call.sip("ringing", False, state="DISCONNECTED", disconnectReason="USER_REJECTED")
    return [call.event("room_started", 0), call.event("participant_joined", 1, participant=call.sip("dialing", False)),
            call.event("participant_left", 60, participant=left), call.event("room_finished", 62)]


def kept_marks(daemon: Daemon) -> list[dict]:
    rows = daemon.database.query('SELECT "rawPayload", "roomSid" FROM livekit_call_events WHERE event = ?', "mark")
    return [(json.loads(payload) if isinstance(payload, str) else payload) | {"boundTo": sid} for payload, sid in rows]


@pytest.mark.parametrize("reply", REFUSED, ids=lambda r: r["what"])
def test_the_python_dialer_passes_on_every_refusal(daemon: Daemon, snippet, monkeypatch, reply):
    monkeypatch.setenv("OUTCOMED_URL", f"http://127.0.0.1:{daemon.port}")
    dialer, call = snippet("dialer"), CallMaker()
    request = types.SimpleNamespace(room_name=call.name, wait_until_answered=True)

    async def run() -> None:
        with pytest.raises(TwirpError):
            await dialer.dial(LiveKit(daemon, call, reply), request)
        await asyncio.gather(*dialer.posting)

    asyncio.run(run())
    body = json.loads(reply["body"])
    [mark] = kept_marks(daemon)
    assert (mark["kind"], mark["source"], mark["roomName"], mark["boundTo"]) == ("sip_result", "dialer", call.name, call.sid)
    code = body.get("meta", {}).get("sip_status_code")
    assert mark.get("sipCode") == (int(code) if code else None)
    assert mark["sipText"] == body.get("meta", {}).get("sip_status", body["msg"])
    if code == "486":
        outcome = daemon.outcome(call.sid, call.tenant).json()
        assert (outcome["outcome"], outcome["reason"], outcome["confidence"]) == ("busy", "busy", "certain")


def test_the_python_dialer_tells_of_an_answer(daemon: Daemon, snippet, monkeypatch):
    monkeypatch.setenv("OUTCOMED_URL", f"http://127.0.0.1:{daemon.port}")
    dialer, call = snippet("dialer"), CallMaker()
    answered = next(r for r in DIALED if r["status"] == 200)

    async def run(wait_until_answered: bool):
        request = types.SimpleNamespace(room_name=call.name, wait_until_answered=wait_until_answered)
        participant = await dialer.dial(LiveKit(daemon, call, answered), request)
        await asyncio.gather(*dialer.posting)
        return participant

    assert asyncio.run(run(False)).sip_call_id == call.call_id
    assert kept_marks(daemon) == []
    asyncio.run(run(True))
    [mark] = kept_marks(daemon)
    assert (mark["kind"], mark["source"], mark["sipCallId"], mark["boundTo"]) == ("answered", "dialer", call.call_id, call.sid)


def test_an_error_that_is_no_answer_of_livekits_makes_no_mark(snippet):
    dialer = snippet("dialer")
    for error in (ConnectionResetError("gone"), TimeoutError(), ValueError("bad number")):
        assert dialer.mark_of_error(error, "room") is None


class Room:
    """Stands in for rtc.Room."""

    def __init__(self) -> None:
        self.handlers = {}

    def on(self, name: str, handler) -> None:
        self.handlers[name] = handler

    def change(self, participant, **attributes) -> None:
        participant.attributes.update({name.replace("_", "."): value for name, value in attributes.items()})
        self.handlers["participant_attributes_changed"](attributes, participant)


def test_the_agent_tells_of_the_answer_once_and_of_a_machine(daemon: Daemon, snippet, monkeypatch):
    monkeypatch.setenv("OUTCOMED_URL", f"http://127.0.0.1:{daemon.port}")
    agent, call, room = snippet("agent"), CallMaker(), Room()
    phone = types.SimpleNamespace(attributes={"sip.callID": call.call_id, "sip.callStatus": "dialing"})
    caller = types.SimpleNamespace(attributes={"sip.callID": new_id("SCL"), "sip.ruleID": "SDR_1", "sip.callStatus": "ringing"})
    other = types.SimpleNamespace(attributes={})
    for event in attempt(call)[:2]:
        assert daemon.post_event(event).status == 200

    async def run() -> None:
        agent.report_answers(room)
        for participant in (phone, caller, other):
            room.change(participant, sip_callStatus="ringing")
        assert not agent.posting
        for participant in (phone, caller, other, phone):
            room.change(participant, sip_callStatus="active")
        await asyncio.gather(*agent.posting)
        assert await agent.report_machine(phone, True, "voicemail")
        assert await agent.report_machine(phone, False)

    asyncio.run(run())
    marks = kept_marks(daemon)
    assert sorted(m["kind"] for m in marks) == ["answered", "human", "machine"]
    assert {(m["source"], m["sipCallId"], m["boundTo"]) for m in marks} == {("agent", call.call_id, call.sid)}
    assert [m["value"] for m in marks if m["kind"] == "machine"] == ["voicemail"]
    outcome = daemon.outcome(call.sid, call.tenant).json()
    assert outcome["answeredAt"] is not None


# ---- when outcomed does not answer ----

@pytest.fixture
def flaky():
    """An HTTP server that answers with the statuses that it is given, one after the other, and keeps the requests' keys and tokens."""
    statuses: list[int] = []
    seen: list[tuple] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.headers["Idempotency-Key"], self.headers["Authorization"], json.loads(body)))
            reply = b'{"status":"processed","event_id":"MK_1","message":"Event processed"}'
            self.send_response(statuses.pop(0))
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield types.SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", statuses=statuses, seen=seen)
    server.shutdown()
    thread.join()
    server.server_close()


def test_python_tries_again_under_one_key_and_never_raises(flaky, snippet, monkeypatch, capsys):
    monkeypatch.setenv("OUTCOMED_URL", flaky.url)
    monkeypatch.setenv("OUTCOMED_TOKEN", "token")
    marks = snippet("marks")
    flaky.statuses[:] = [503, 500, 200]
    assert marks.post_mark({"roomSid": "RM_1", "sipCode": 486, "value": None}, waits=(0.01, 0.01, 0.01)) == "MK_1"
    assert len(flaky.seen) == 3 and len(set(map(repr, flaky.seen))) == 1
    key, token, mark = flaky.seen[0]
    assert key and token == "Bearer token" and mark == {"roomSid": "RM_1", "sipCode": 486}
    flaky.statuses[:] = [400]
    assert marks.post_mark({"roomSid": "RM_1"}, waits=(0.01,)) is None
    flaky.statuses[:] = [503, 503]
    assert marks.post_mark({"roomSid": "RM_1"}, waits=(0.01,)) is None
    monkeypatch.setenv("OUTCOMED_URL", "http://127.0.0.1:1")
    assert marks.post_mark({"roomSid": "RM_1"}, waits=(0.01,)) is None
    assert len({key for key, _, _ in flaky.seen}) == 3
    assert "refused the mark: 400" in capsys.readouterr().out


# ---- Node ----

NODE = shutil.which("node") or shutil.which("nodejs")
node_only = pytest.mark.skipif(NODE is None, reason="no Node here")


def run_node(script: str, url: str, given=None, token: str | None = None):
    """Runs a module beside the snippet; what it prints last is JSON."""
    program = f"import {{ dial, postMark, markOfError }} from {json.dumps((EXAMPLES / 'dialer.mjs').as_uri())};\n" \
              f"const given = {json.dumps(given)};\n{script}"
    env = {"PATH": "/usr/bin:/bin", "OUTCOMED_URL": url} | ({"OUTCOMED_TOKEN": token} if token else {})
    done = subprocess.run([NODE, "--input-type=module", "-"], input=program, capture_output=True, text=True, timeout=60, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@node_only
def test_the_node_dialer_passes_on_every_refusal_and_answer(daemon: Daemon):
    calls = {reply["what"]: CallMaker() for reply in DIALED}
    for call in calls.values():
        for event in attempt(call):
            assert daemon.post_event(event).status == 200
    given = [{"room": calls[r["what"]].name, "leg": calls[r["what"]].call_id, "status": r["status"], "body": json.loads(r["body"])} for r in DIALED]
    thrown = run_node("""
class TwirpError extends Error {  // as livekit-server-sdk's
  constructor(message, status, code, metadata) { super(message); Object.assign(this, { status, code, metadata }); }
}
let thrown = 0;
const posted = [];
for (const { room, leg, status, body } of given) {
  const sip = { createSipParticipant: async () => {
    if (status !== 200) throw new TwirpError(body.msg, status, body.code, body.meta);
    return { sipCallId: leg, roomName: room };
  } };
  await new Promise((done) => dial(sip, 'ST_1', '+15105550123', room, { waitUntilAnswered: true }, (id) => { posted.push(id); done(); })
    .catch(() => { thrown += 1; }));
}
if (markOfError(new TypeError('fetch failed'), 'room') !== null || posted.some((id) => !id.startsWith('MK_'))) throw new Error('odd');
console.log(thrown);
""", f"http://127.0.0.1:{daemon.port}", given)
    assert thrown == len(REFUSED)
    marks = {m["boundTo"]: m for m in kept_marks(daemon)}
    for reply in DIALED:
        mark, meta = marks[calls[reply["what"]].sid], json.loads(reply["body"]).get("meta", {})
        assert mark["source"] == "dialer"
        if reply["status"] == 200:
            assert mark["kind"] == "answered"
        else:
            assert mark["kind"] == "sip_result"
            assert mark.get("sipCode") == (int(meta["sip_status_code"]) if meta else None)
            assert mark["sipText"] == meta.get("sip_status", json.loads(reply["body"]).get("msg"))


@node_only
def test_node_tries_again_under_one_key_and_never_throws(flaky):
    flaky.statuses[:] = [503, 429, 200, 400, 503, 503]
    printed = run_node("""
const mark = { roomSid: 'RM_1', sipCode: 486 };
console.log(JSON.stringify([await postMark(mark, [10, 10]), await postMark(mark, [10]), await postMark(mark, [10])]));
""", flaky.url, token="token")
    assert printed == ["MK_1", None, None]
    assert len(flaky.seen) == 6
    assert len({key for key, _, _ in flaky.seen}) == 3
    assert {token for _, token, _ in flaky.seen} == {"Bearer token"}
