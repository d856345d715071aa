"""What was acknowledged before a kill -9 is there afterwards, once, and every call comes out as if nothing had happened.
TORTURE_KILLS and TORTURE_SEED make more of it: `make torture`."""

import os
import random

import pytest

from support import torture
from support.daemon import Database

pytestmark = [pytest.mark.integration, pytest.mark.idempotency]

KILLS = int(os.environ.get("TORTURE_KILLS", "12"))
SEED = int(os.environ.get("TORTURE_SEED", random.randrange(1 << 32)))


@pytest.fixture
def make_torture(outcomed_binary, new_database, tmp_path, say, capsys):
    """make_torture(store) gives (Torture, measure); what it started is gone afterwards."""
    made: list[torture.Torture] = []

    def progress(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", end="", flush=True)

    def make(store: str, **options) -> tuple[torture.Torture, dict]:
        quiet, loud = tmp_path / "quiet", tmp_path / "loud"
        quiet.mkdir()
        loud.mkdir()
        args = ("--migrate",) if store == "postgres" else ()
        measure = torture.undisturbed(torture.Lives(outcomed_binary, quiet), new_database(store), *args)
        t = torture.Torture(options.pop("mode", store), outcomed_binary, loud, new_database(store), SEED, args=(*args, *options.pop("args", ())),
                            progress=progress, **options)
        made.append(t)
        return t, measure

    yield make
    for t in made:
        if t.lives.process is not None and t.lives.process.poll() is None:
            t.lives.process.kill()
            t.lives.process.wait()


@pytest.mark.timeout(120 + KILLS * 5)
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_nothing_acknowledged_is_lost_or_doubled_by_kill_9(make_torture, say, store):
    t, measure = make_torture(store)
    report = t.run(KILLS, measure)
    say(str(report))
    assert report.books.clean(), report.books
    assert report.with_requests > KILLS // 4
    assert report.books.acknowledged > 5 * KILLS


def down_by_turns(url: str):
    """Three lives without a database, whose events go to the spool, then three with it, that drain it and are killed over that."""
    return lambda life: "postgresql://nobody@127.0.0.1:1/nothing" if life % 6 < 3 else url


@pytest.mark.timeout(120 + KILLS * 5)
def test_nothing_acknowledged_from_the_spool_is_lost_or_doubled_by_kill_9(make_torture, tmp_path, say):
    spool = tmp_path / "spool"
    t, measure = make_torture("postgres", args=("--spool", str(spool)), settle=torture.Lives.wait_drained, mode="spool")
    t.url_of = down_by_turns(t.database.url)
    report = t.run(KILLS, measure)
    say(str(report))
    assert report.books.clean(), report.books
    assert [path.name for path in spool.iterdir() if path.suffix in (".damaged", ".refused", ".spool")] == []
    assert report.with_requests > KILLS // 4
    assert report.books.acknowledged > 5 * KILLS


# ---- the books can fail ----

def doctored(database: Database, *sql: str) -> None:
    for statement in sql:
        database.query(statement)


SPOILED = {
    "missing": ["DELETE FROM livekit_call_events WHERE \"eventId\" = 'EV_n00000001n_02'"],
    "twice": ["DROP INDEX \"idx_lce_eventId\"", "UPDATE livekit_call_events SET \"eventId\" = 'EV_n00000001n_02' WHERE \"eventId\" = 'EV_n00000001n_01'"],
    "wrong_calls": ["UPDATE call_logs SET outcome = 'failed' WHERE \"livekitRoomSid\" = 'RM_n00000002n'"],
    "unknown_rooms": ["INSERT INTO call_logs (id, \"userId\", \"livekitRoomSid\", \"createdAt\") SELECT 'x', \"userId\", 'RM_other', \"createdAt\" FROM call_logs LIMIT 1"],
}


@pytest.mark.parametrize("what", SPOILED)
def test_the_books_see_what_is_wrong(outcomed_binary, new_database, tmp_path, what):
    """The comparison itself, on a database in which one thing was spoiled by hand."""
    database = new_database("sqlite")
    lives = torture.Lives(outcomed_binary, tmp_path)
    measure = torture.undisturbed(lives, database)
    ledger = torture.Ledger()
    for number, pattern in enumerate(torture.PATTERNS):
        call = pattern.make(number)
        ledger.acknowledged |= {event_id for event_id, _ in call.requests if event_id}
        ledger.calls.append(call)
    assert torture.compare(database, ledger, measure).clean()
    doctored(database, *SPOILED[what])
    books = torture.compare(database, ledger, measure)
    assert not books.clean()
    assert len(getattr(books, what)) == 1
