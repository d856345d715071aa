"""What PostgreSQL calls committed is on its disk: our transactions see to what they can set, `outcomed check` to the rest."""

import subprocess
import time

import pytest

from support import postgres
from support.daemon import Database, environment
from support.events import CallMaker

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def own_server():
    """A PostgreSQL that may be set wrongly: nobody else's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TEST_DATABASE_URL", raising=False)
        server = postgres.Server()
    try:
        yield server.start()
    finally:
        server.stop()


def check(binary, url: str) -> tuple[int, list[str]]:
    env = environment({"DATABASE_URL": url, "OUTCOMED_LISTEN": "127.0.0.1:1"})
    done = subprocess.run([binary, "check"], env=env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, [line for line in done.stdout.splitlines() if line[6:].startswith("durability")]


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_check_sees_a_server_that_does_not_sync(outcomed_binary, own_server, setting):
    database = Database("postgres", own_server.url(own_server.create()))
    subprocess.run([outcomed_binary, "migrate", "upgrade", "--database", database.url], env=environment(), capture_output=True, check=True)
    code, lines = check(outcomed_binary, database.url)
    assert code == 0 and len(lines) == 1 and lines[0].startswith("ok ")
    try:
        database.query(f"ALTER SYSTEM SET {setting} = off")
        database.query("SELECT pg_reload_conf()")
        while database.query(f"SHOW {setting}") == [("on",)]:
            time.sleep(0.05)
        code, lines = check(outcomed_binary, database.url)
        assert code == 1 and lines[0].startswith("FAIL") and f"{setting} = off" in lines[0]
    finally:
        database.query(f"ALTER SYSTEM RESET {setting}")
        database.query("SELECT pg_reload_conf()")


def test_a_default_of_unsynced_commits_is_overridden(outcomed_binary, start_daemon, new_database):
    """Seen from inside the transaction that writes the event."""
    database = new_database("postgres")
    name = database.query("SELECT current_database()")[0][0]
    database.query(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    daemon = start_daemon(database=database)
    database.query("CREATE TABLE seen (setting text)")
    database.query("CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); "
                   "RETURN NULL; END $$")
    database.query("CREATE TRIGGER look AFTER INSERT ON livekit_call_events FOR EACH ROW EXECUTE FUNCTION look()")
    for event in CallMaker().unanswered():
        assert daemon.post_event(event).status == 200
    assert database.query("SHOW synchronous_commit") == [("off",)]
    assert database.query("SELECT DISTINCT setting FROM seen") == [("on",)]
    code, lines = check(outcomed_binary, database.url)
    assert code == 0 and "set by each of our transactions" in lines[0]


def test_check_says_how_sqlite_commits(outcomed_binary, start_daemon, new_database):
    database = new_database("sqlite")
    start_daemon(database=database).stop()
    code, lines = check(outcomed_binary, database.url)
    assert code == 0 and len(lines) == 1 and lines[0].startswith("ok ")
