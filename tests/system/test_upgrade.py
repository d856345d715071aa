"""Two versions on one database while its schema goes up, under traffic. `make upgrade-test` builds the version before and names it in OUTCOMED_PREVIOUS."""

import http.client
import os
import pathlib
import subprocess
import threading
import time

import pytest

from support.daemon import Daemon, environment
from support.events import CallMaker

pytestmark = [pytest.mark.integration,
              pytest.mark.skipif("OUTCOMED_PREVIOUS" not in os.environ, reason="make upgrade-test builds the version before")]


class Balancer:
    """Clients that post each event to one node, and, where that does not take it, to the next, as LiveKit's repetitions behind a balancer come."""

    def __init__(self, clients: int) -> None:
        self.nodes: list[Daemon] = []
        self.acknowledged: set[str] = set()
        self.calls: list[str] = []
        self.slowest_s, self.refused, self.gave_up = 0.0, 0, False
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(i,)) for i in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _client(self, at: int) -> None:
        while not self._stop.is_set():
            call = CallMaker()
            for event in call.answered():
                at += 1
                began = time.monotonic()
                while not self._post(self.nodes[at % len(self.nodes)], event):
                    at += 1
                    time.sleep(0.05)
                    if time.monotonic() - began > 15:  # LiveKit would not go on either
                        self.gave_up = True
                        return
                with self._lock:
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            with self._lock:
                self.calls.append(call.sid)

    def _post(self, node: Daemon, event: dict) -> bool:
        try:
            status = node.post_event(event).status
        except (OSError, http.client.HTTPException):
            status = 0
        with self._lock:
            self.refused += status != 200
            if status == 200:
                self.acknowledged.add(event["id"])
        return status == 200

    def wait_for(self, more: int) -> None:
        wanted, deadline = len(self.acknowledged) + more, time.monotonic() + 60
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline and not self.gave_up, f"{len(self.acknowledged)} of {wanted}"
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def migrate(binary: pathlib.Path, database, *words: str) -> str:
    done = subprocess.run([binary, "migrate", "--database", database.url, *words], env=environment(), capture_output=True, text=True, timeout=120,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode in (0, 3), done
    return done.stdout


def test_old_and_new_serve_one_database_while_it_is_upgraded(outcomed_binary, new_database, tmp_path, say):
    """What the old version does once the schema is newer than it knows: it writes nothing into it. It keeps events in its spool, where it has
    one, or refuses them, and the next node takes them. The new version in its place drains that spool."""
    previous, database = pathlib.Path(os.environ["OUTCOMED_PREVIOUS"]), new_database("postgres")
    migrate(previous, database, "upgrade")
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old, new = Daemon(previous, tmp_path / "old", database), Daemon(outcomed_binary, tmp_path / "new", database)
    successor = Daemon(outcomed_binary, tmp_path / "old", database)
    traffic = Balancer(4)
    try:
        old.start()
        traffic.nodes = [old]
        traffic.start()
        traffic.wait_for(200)
        new.start()  # with --migrate: it upgrades the schema under the old one's traffic
        traffic.nodes = [old, new]
        traffic.wait_for(400)
        traffic.nodes = [new]
        assert old.stop() == 0
        successor.start()
        traffic.nodes = [new, successor]
        traffic.wait_for(200)
    finally:
        traffic.stop()
        for node in (old, new, successor):
            node.finish()
    assert not traffic.gave_up
    assert database.query("SELECT max(version) FROM outcomed_migrations") > [(3,)]
    assert traffic.acknowledged - database.event_ids() == set()
    assert database.count("livekit_call_events") == len(database.event_ids())
    undecided = database.query('SELECT count(*) FROM call_facts WHERE "roomSid" = ANY (?) AND outcome IS DISTINCT FROM \'completed\'', traffic.calls)
    assert undecided == [(0,)], "a call whose events came through both versions has its verdict"
    say(f"old and new version side by side: {len(traffic.acknowledged)} events acknowledged, all stored once; {traffic.refused} attempts "
        f"refused and taken elsewhere; slowest event {traffic.slowest_s:.2f} s")
