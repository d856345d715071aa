"""Recorded calls beside the recorded replies of ListParticipants, both played again in their own rhythm: what the watcher learns from them must be what
really happened, on both stores."""

import datetime
import json
import threading
import time

import pytest

from support import captures as capture_files
from support import postgres
from support.daemon import Daemon, Database
from support.livekit import LiveKit
from support.replay import dump, replay

pytestmark = pytest.mark.integration

INTERVAL_MS = 300  # as the recorded polls

RECORDED = [c for c in capture_files.all_captures() if (capture_files.FOLDER / f"{c.name}.polls.jsonl").exists()]
SECONDS = {"createdAt", "creationTime", "joinedAt", "created_at", "creation_time", "joined_at"}
MILLISECONDS = {"creationTimeMs", "joinedAtMs", "creation_time_ms", "joined_at_ms"}
MICROSECONDS = {"unixMicro", "unix_micro"}


def moved(value, by_ms: int):
    """The same JSON with every time of it moved; by whole seconds, so that what was floored is floored alike."""
    if isinstance(value, list):
        return [moved(v, by_ms) for v in value]
    if not isinstance(value, dict):
        return value
    units = {name: 1000 for name in SECONDS} | {name: 1 for name in MILLISECONDS}
    out = {}
    for name, v in value.items():
        if name in units and v not in ("0", 0, ""):
            out[name] = str(int(v) + by_ms // units[name])
        elif name in MICROSECONDS and v not in ("0", 0):
            out[name] = str(int(v) + by_ms * 1000)
        else:
            out[name] = moved(v, by_ms)
    return out


def polls_of(capture: capture_files.Capture) -> list[dict]:
    with (capture_files.FOLDER / f"{capture.name}.polls.jsonl").open() as lines:
        return [json.loads(line) for line in lines]


class Played:
    """One capture moved to now: delivers its webhooks when their time comes, and shows what was seen at that time."""

    def __init__(self, capture: capture_files.Capture, daemon: Daemon, server: LiveKit, begin_ms: int) -> None:
        self.capture, self.daemon = capture, daemon
        first = min(capture.deliveries[0].received_at_ms, polls_of(capture)[0]["sentAtMs"])
        self.by_ms = -(-(begin_ms - first) // 1000) * 1000
        self.polls = [(p["sentAtMs"] + self.by_ms, json.dumps(moved(json.loads(p["body"]), self.by_ms))) for p in polls_of(capture)]
        call = capture.calls[0]
        self.sid, self.truth = call.room_sid, call.truth
        server.participants[call.room_name] = self.show
        server.rooms[call.room_name] = self.sid
        self.thread = threading.Thread(target=self.deliver)

    def show(self) -> str:
        now = int(time.time() * 1000)
        return [body for at, body in self.polls if at <= now][-1] if self.polls[0][0] <= now else '{"participants":[]}'

    def deliver(self) -> None:
        connection = self.daemon.connect()
        for d in self.capture.deliveries:
            wait = (d.received_at_ms + self.by_ms) / 1000 - time.time()
            time.sleep(max(0, wait))
            assert self.daemon.post_event(moved(d.event, self.by_ms), connection=connection).status == 200
        connection.close()


def ms(text: str | None) -> int | None:
    return None if text is None else round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def played(request, outcomed_binary, tmp_path_factory):
    """All captures that have polls, played at the same time; each with its outcome."""
    folder, server = tmp_path_factory.mktemp("played"), LiveKit()
    database = Database("sqlite", f"sqlite:{folder}/outcomed.db")
    name = None
    if request.param == "postgres":
        name = postgres.shared().create()
        database = Database("postgres", postgres.shared().url(name))
    daemon = Daemon(outcomed_binary, folder, database, ("--watch-interval", str(INTERVAL_MS), "--watch-rate", "100", "--default-user", "house"),
                    {"LIVEKIT_URL": server.url})
    try:
        daemon.start()
        begin_ms = int(time.time() * 1000) + 1500
        all_played = [Played(c, daemon, server, begin_ms) for c in RECORDED]
        for p in all_played:
            p.thread.start()
        for p in all_played:
            p.thread.join()
        tenants = dict(database.query('SELECT "roomSid", "userId" FROM call_facts'))
        yield daemon, [(p, daemon.wait_outcome(p.sid, tenants[p.sid] or "house", 30)) for p in all_played]
    finally:
        daemon.finish()
        server.close()
        if name:
            postgres.shared().drop(name)


def test_the_answer_is_known_within_one_interval(played, say):
    daemon, outcomes = played
    errors = []
    for p, outcome in outcomes:
        if not p.truth["answered"]:
            continue
        truth = p.truth["answeredAtMs"] + p.by_ms
        assert outcome["answeredSource"] == "watcher", p.capture.name
        assert ms(outcome["answeredAtEarliest"]) <= truth <= ms(outcome["answeredAtLatest"]), p.capture.name
        errors.append(ms(outcome["answeredAt"]) - truth)
        assert abs(errors[-1]) <= INTERVAL_MS, (p.capture.name, errors)
    assert len(errors) >= 4
    say(f"watcher, {daemon.database.kind}: answers known to {max(map(abs, errors))} ms, asked every {INTERVAL_MS} ms")


def test_who_was_not_answered_has_no_answer(played):
    _, outcomes = played
    unanswered = [(p, o) for p, o in outcomes if not p.truth["answered"]]
    assert len(unanswered) >= 4
    for p, outcome in unanswered:
        assert outcome["answeredAt"] is None, p.capture.name
        assert not (outcome["confidence"] == "certain" and outcome["outcome"] not in p.capture.calls[0].accept), p.capture.name


def test_watched_calls_are_judged_right(played):
    _, outcomes = played
    for p, outcome in outcomes:
        alternatives = [a["outcome"] for a in outcome["alternatives"]]
        accept = p.capture.calls[0].accept
        assert outcome["outcome"] in accept or set(accept) & set(alternatives), p.capture.name


def test_ring_time_is_not_sold_as_talk_time(played):
    _, outcomes = played
    for p, outcome in outcomes:
        if p.truth["answered"]:
            talked = (p.truth["endedAtMs"] - p.truth["answeredAtMs"]) / 1000
            assert talked - 2.5 < outcome["talkSeconds"] < talked + 0.5, p.capture.name


def test_a_replay_finds_the_same_in_what_the_watcher_found(played, outcomed_binary):
    daemon, _ = played
    assert daemon.database.count("livekit_call_events", "source = 'watcher'") > 0
    tables = ("call_facts", "call_logs", "call_legs", "call_revisions")
    before = dump(daemon.database, tables)
    done = replay(outcomed_binary, daemon.database, "--default-user", "house")
    assert (done.returncode, dump(daemon.database, tables)) == (0, before), done.stdout
