"""The recorded deliveries of tests/captures with the truth about them (README.md there says how they are written)."""

import dataclasses
import functools
import json
import pathlib
import subprocess

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "captures"


@dataclasses.dataclass(frozen=True)
class Delivery:
    received_at_ms: int
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict:
        return json.loads(self.body)

    @property
    def room_sid(self) -> str | None:
        event = self.event
        return event.get("room", {}).get("sid") or event.get("egressInfo", {}).get("roomId")


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a capture: a room SID, what really happened, and its deliveries."""

    capture: str
    room_sid: str | None
    room_name: str
    truth: dict
    deliveries: tuple[Delivery, ...]

    @property
    def accept(self) -> list[str]:
        return self.truth.get("accept") or [self.truth["outcome"]]


@dataclasses.dataclass(frozen=True)
class Capture:
    name: str
    path: pathlib.Path
    scenario: dict
    deliveries: tuple[Delivery, ...]

    @property
    def calls(self) -> list[Call]:
        """Its calls in the order of the truths. Several calls under one room name are told apart by room SID, in order of receipt."""
        truths = self.scenario.get("calls") or [{"roomName": self.scenario["room"], "truth": self.scenario["truth"]}]
        by_name: dict[str, list[str]] = {}
        for d in self.deliveries:
            room = d.event.get("room", {})
            if room.get("sid") and room["sid"] not in by_name.setdefault(room["name"], []):
                by_name[room["name"]].append(room["sid"])
        calls = []
        for truth in truths:
            sids = by_name.get(truth["roomName"], [])
            sid = sids[truth.get("nth", 1) - 1] if sids else None
            own = tuple(d for d in self.deliveries if sid and d.room_sid == sid)
            calls.append(Call(self.name, sid, truth["roomName"], truth["truth"], own))
        return calls


def read(path: pathlib.Path) -> Capture:
    with path.open(encoding="utf-8") as lines:
        scenario = json.loads(next(lines))["scenario"]
        rows = [json.loads(line) for line in lines]
    deliveries = tuple(Delivery(r["receivedAtMs"], r["status"], r["headers"], r["body"].encode()) for r in rows)
    return Capture(path.stem, path, scenario, deliveries)


@functools.cache
def all_captures() -> tuple[Capture, ...]:
    paths = sorted(p for p in FOLDER.glob("*.jsonl") if not p.name.endswith(".polls.jsonl"))
    return tuple(read(p) for p in paths)


def recorded_calls() -> list[Call]:
    """All recorded calls of which LiveKit said anything."""
    return [call for capture in all_captures() for call in capture.calls if call.room_sid]


@functools.cache
def classified(build: pathlib.Path, *options: str) -> dict[str, dict]:
    """The verdict of each recorded call as the pure core gives it with every grace long passed, by room SID."""
    paths = [capture.path for capture in all_captures()]
    done = subprocess.run([build / "tests/property/classify_captures", *options, *paths], capture_output=True, timeout=120, check=False)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows, done.stderr.decode(errors="replace")
    return {row["roomSid"]: row for row in rows}
