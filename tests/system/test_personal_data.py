"""No phone number leaves in a log line: canaries go through the whole daemon on both stores, and through a database's error texts."""

import json
import re

import pytest

from support import signing
from support.events import CallMaker

pytestmark = pytest.mark.integration

CANARY = "+4930987650001"
SHAPES = (CANARY, CANARY[1:], "00" + CANARY[1:], "+49 30 98765-0001", "(030) 987650001")
REMAINS = re.compile(r"9876[ -]?5|0987650001|49[ -]?30[ -]?9")  # of any of them, where it was not hidden


def visit(daemon, name: str) -> None:
    """What a number can stand in: identity, attributes, room name, event type and id, unreadable bodies, marks, paths, headers, tokens."""
    call = CallMaker(number=CANARY, room_name=name)
    for event in call.answered():
        assert daemon.post_event(event).status == 200
    odd = call.event(f"called_{CANARY}", 0) | {"id": f"EV-{CANARY}"}
    assert daemon.post_event(odd).status == 200
    assert daemon.post_event(odd).json()["message"].startswith("Event already")
    for body in (f'{{"event": 5, "id": "{CANARY}"'.encode(), json.dumps({"event": "room_started", "id": f"EV/{CANARY}", "room": {"sid": f"RM_{CANARY}", "name": 5}}).encode()):
        assert daemon.post(body, signing.sign(body)).status == 200
    daemon.post(b"{}", {"Authorization": f"Bearer {CANARY}"})
    mark = {"roomName": name, "kind": "note", "value": CANARY}
    daemon.request("POST", "/api/marks?user_id=user-1", json.dumps(mark).encode(), {"Content-Type": "application/json", "Idempotency-Key": CANARY})
    daemon.get(f"/api/calls/{CANARY[1:]}/outcome?user_id=%2B{CANARY[1:]}")
    daemon.get(f"/nowhere/{CANARY[1:]}", {"X-Number": CANARY})
    daemon.raw(f"GET /{CANARY} HTTP/1.1\r\n{CANARY}\r\n\r\n".encode(), 2)


def test_no_number_leaves_in_a_log_line(start_daemon, database):
    daemon = start_daemon("--log-level", "debug", database=database)  # what the other levels say is among it
    for shape in SHAPES:
        visit(daemon, f"room {shape}")
    daemon.stop()
    log = daemon.log()
    assert not REMAINS.search(log), [line for line in log.splitlines() if REMAINS.search(line)][:5]
    assert "EV-+***********01" in log, "the lines are there, with the numbers hidden"


def test_no_number_leaves_in_an_error_text_of_the_database(start_daemon, new_database):
    """The host's own constraint quotes the row that it refuses."""
    database = new_database("postgres")
    daemon = start_daemon(database=database)
    database.query('CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN '
                   "RAISE EXCEPTION USING MESSAGE = 'refused: ' || NEW.\"rawPayload\"::text, ERRCODE = '23514', DETAIL = 'Failing row contains ' || NEW.\"roomName\"; END $f$")
    database.query("CREATE TRIGGER refuse BEFORE INSERT ON livekit_call_events FOR EACH ROW WHEN (NEW.event = 'participant_joined') "
                   "EXECUTE FUNCTION refuse()")
    call = CallMaker(number=CANARY, room_name=f"call-{CANARY}")
    for event in call.answered():
        daemon.post_event(event)
    daemon.stop()
    log = daemon.log()
    assert "refused" in log, log[-3000:]
    assert not REMAINS.search(log), [line for line in log.splitlines() if REMAINS.search(line)][:5]


def test_a_start_that_fails_hides_numbers_too(outcomed_binary, start_daemon, new_database):
    database = new_database("postgres")
    database.query('CREATE TABLE livekit_call_events (id BIGSERIAL PRIMARY KEY, "eventId" TEXT, event TEXT)')
    for _ in range(2):
        database.query(f"INSERT INTO livekit_call_events (\"eventId\", event) VALUES ('call {CANARY}', 'x')")
    with pytest.raises(AssertionError, match="ended with 2") as failure:
        start_daemon(database=database)
    assert "livekit_call_events holds event" in str(failure.value)
    assert not REMAINS.search(str(failure.value))
