"""scripts/record.py: what a server sends stands in the file as it came, in the form that the kit describes."""

import http.client
import json
import pathlib
import signal
import subprocess
import sys

import pytest

from support import captures
from support.events import CallMaker

pytestmark = pytest.mark.unit

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "record.py"
TRUTH = {"direction": "outbound", "outcome": "completed", "answered": True, "sipCode": 200}


def start(folder, *words, truth=TRUTH) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, SCRIPT, "new-call", "--what", "A call.", "--truth", json.dumps(truth), "--listen", "127.0.0.1:0",
                             "--folder", folder, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def post(port: int, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/hook", body, {"Authorization": "aaa.bbb.ccc", "Content-Type": "application/webhook+json", **headers})
        return connection.getresponse().status
    finally:
        connection.close()


def stop(process: subprocess.Popen) -> tuple[str, str]:
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=10)


@pytest.fixture
def recording(tmp_path):
    process = start(tmp_path)
    try:
        yield process, int(process.stdout.readline().rstrip().rstrip("/").rpartition(":")[2])
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_deliveries_stand_in_the_file_as_they_came(recording, tmp_path, build_folder):
    process, port = recording
    events = CallMaker().answered()
    bodies = [json.dumps(event).encode() for event in events]
    assert [post(port, body) for body in bodies] == [200] * len(bodies)
    out, err = stop(process)
    assert (process.returncode, err) == (0, "")
    assert f"{len(bodies)} deliveries" in out
    capture = captures.read(tmp_path / "new-call.jsonl")
    assert capture.scenario["name"] == "new-call"
    assert capture.scenario["truth"] | TRUTH == capture.scenario["truth"]
    assert capture.scenario["truth"]["accept"] == ["completed"]
    secrets = [d.event["room"].get("turnPassword", "x") for d in capture.deliveries]
    assert set("".join(secrets)) == {"x"}
    for event, delivery in zip(events, capture.deliveries, strict=True):
        if "turnPassword" in event["room"]:
            assert len(delivery.event["room"]["turnPassword"]) == len(event["room"]["turnPassword"])
            event["room"]["turnPassword"] = delivery.event["room"]["turnPassword"]
        assert delivery.body == json.dumps(event).encode()
        assert delivery.headers["Authorization"] == "aaa.bbb.ccc"
    judged = subprocess.run([build_folder / "tests/property/classify_captures", capture.path], capture_output=True, timeout=30, check=False)
    assert json.loads(judged.stdout)["grade"] == "right"


def test_what_is_no_webhook_is_not_taken(recording, tmp_path):
    process, port = recording
    assert post(port, b"\xff") == 400
    stop(process)
    assert captures.read(tmp_path / "new-call.jsonl").deliveries == ()


def test_a_recording_is_never_overwritten(tmp_path):
    (tmp_path / "new-call.jsonl").write_text("kept")
    process = start(tmp_path)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "exists" in err
    assert (tmp_path / "new-call.jsonl").read_text() == "kept"


@pytest.mark.parametrize("truth, says", [
    ({"direction": "sideways", "outcome": "busy"}, "direction"),
    ({"direction": "web", "outcome": "unknown"}, "outcome"),
    ({"direction": "web", "outcome": "busy", "accept": ["failed"]}, "accept"),
])
def test_a_truth_that_is_none_is_refused(tmp_path, truth, says):
    process = start(tmp_path, truth=truth)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 2
    assert says in err
    assert list(tmp_path.iterdir()) == []


def test_it_stops_by_itself(tmp_path):
    process = start(tmp_path, "--seconds", "0.2")
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "0 deliveries" in out
