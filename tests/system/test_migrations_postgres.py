"""Migrations on PostgreSQL, from every state that a database can be in: upgrade only adds, downgrade takes back exactly that."""

import os
import re
import subprocess
import threading
import time
import urllib.parse

import psycopg
import pytest

from support import hosts
from support.daemon import Database, environment
from support.events import CallMaker

pytestmark = pytest.mark.integration

TENANT = {"uuid": "00000000-0000-4000-8000-000000000001", "older_module": "00000000-0000-4000-8000-000000000001", "strict": "1", "enum": "1",
          "older_module_bare": "1"}
JOURNAL_INDEXES = {"idx_lce_eventId", "idx_lce_room", "idx_lce_unbound", "idx_lce_unowned", "idx_lce_aside"}


@pytest.fixture
def migrate(outcomed_binary):
    """migrate(url, "upgrade", …) gives (exit code, what it printed)."""

    def run(url: str, *words: str) -> tuple[int, str]:
        done = subprocess.run([outcomed_binary, "migrate", *words, "--database", url], env=environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def upgrade(migrate):
    def run(url: str) -> str:
        code, text = migrate(url, "upgrade", "--yes")
        assert code == 0, text
        return text

    return run


@pytest.fixture
def downgrade(migrate):
    def run(url: str) -> str:
        code, text = migrate(url, "downgrade", "--yes")
        assert code == 0, text
        return text

    return run


def indexes(url: str, table: str) -> set[str]:
    return {name for (name,) in hosts.query(url, "SELECT indexname FROM pg_indexes WHERE tablename = %s", table)}


# ---- up and down ----

@pytest.mark.parametrize("host", hosts.HOSTS)
def test_downgrade_gives_back_the_schema_and_the_rows_as_they_were(postgres_url, upgrade, downgrade, host):
    hosts.execute(postgres_url, hosts.HOSTS[host])
    schema, rows = hosts.schema(postgres_url), hosts.rows(postgres_url)
    upgrade(postgres_url)
    assert hosts.schema(postgres_url) != schema
    downgrade(postgres_url)
    assert hosts.schema(postgres_url) == schema
    assert hosts.rows(postgres_url) == rows


@pytest.mark.parametrize("host", hosts.HOSTS)
def test_downgrade_after_calls_leaves_the_hosts_rows_and_none_of_ours(postgres_url, upgrade, downgrade, start_daemon, host):
    hosts.execute(postgres_url, hosts.HOSTS[host])
    schema, rows = hosts.schema(postgres_url), hosts.rows(postgres_url)
    upgrade(postgres_url)
    daemon = start_daemon(database=Database("postgres", postgres_url))
    for tenant in (TENANT.get(host, "user-1"), "nobody the host knows", None):
        for event in CallMaker(tenant).answered():
            assert daemon.post_event(event).status == 200
    daemon.stop()
    assert hosts.value(postgres_url, "SELECT count(*) FROM livekit_call_events WHERE source IS NOT NULL") == 30
    downgrade(postgres_url)
    assert hosts.schema(postgres_url) == schema
    assert hosts.rows(postgres_url) == rows


@pytest.mark.parametrize("host", hosts.HOSTS)
def test_an_upgraded_database_has_every_table_column_and_index(postgres_url, upgrade, outcomed_binary, host):
    hosts.execute(postgres_url, hosts.HOSTS[host])
    upgrade(postgres_url)
    assert indexes(postgres_url, "livekit_call_events") >= JOURNAL_INDEXES
    assert hosts.query(postgres_url, "SELECT version FROM outcomed_migrations ORDER BY 1") == [(1,), (2,), (3,), (4,)]
    assert hosts.value(postgres_url, "SELECT count(*) FROM outcomed_changes WHERE pending") == 0
    assert hosts.value(postgres_url, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    columns = {name for (name,) in hosts.query(postgres_url, "SELECT column_name FROM information_schema.columns WHERE table_name = 'call_logs'")}
    assert columns >= {"livekitRoomSid", "sipCallId", "endedAt", "outcome", "recordingUrl", "metadata", "updatedAt"}


def test_upgrade_and_downgrade_are_harmless_the_second_time(postgres_url, upgrade, downgrade):
    hosts.execute(postgres_url, hosts.OLDER_MODULE)
    before = hosts.schema(postgres_url)
    upgrade(postgres_url)
    once = hosts.schema(postgres_url)
    assert "nothing to do" in upgrade(postgres_url)
    assert hosts.schema(postgres_url) == once
    downgrade(postgres_url)
    assert "nothing to do" in downgrade(postgres_url)
    assert hosts.schema(postgres_url) == before
    upgrade(postgres_url)
    assert hosts.schema(postgres_url) == once


def test_upgrade_says_what_it_does_and_first_how_to_back_up(postgres_url, upgrade):
    hosts.execute(postgres_url, hosts.OLDER_MODULE)
    lines = upgrade(postgres_url).splitlines()
    assert lines[0].startswith("backup first: pg_dump")
    said = set(lines)
    assert {"kept table call_logs and its rows", "added column call_logs.outcome", 'added column call_logs."livekitRoomSid"',
            "kept table livekit_call_events and its rows", 'allowed NULL in livekit_call_events."userId"',
            'allowed NULL in livekit_call_events."callLogId"', "created table call_facts", "created index idx_lce_eventId on livekit_call_events",
            "version 1 (journal) is in place", "version 2 (calls) is in place", "version 3 (witnesses) is in place", "version 4 (tenants) is in place"} <= said


def test_an_earlier_version_of_ours_is_taken_further(postgres_url, migrate, upgrade):
    hosts.execute(postgres_url, hosts.UUID_HOST)
    assert migrate(postgres_url, "upgrade", "--yes", "--to", "1")[0] == 0
    assert hosts.value(postgres_url, "SELECT max(version) FROM outcomed_migrations") == 1
    assert hosts.value(postgres_url, "SELECT to_regclass('call_facts')") is None
    text = upgrade(postgres_url)
    assert "version 2 (calls) is in place" in text and "version 1" not in text


def test_tables_in_another_schema_are_found_by_the_search_path(postgres_url, upgrade, downgrade, start_daemon):
    hosts.execute(postgres_url, 'CREATE SCHEMA "App"; SET search_path = "App";' + hosts.OLDER_MODULE)
    url = postgres_url + "?options=" + urllib.parse.quote('-csearch_path="App"')
    schema, rows = hosts.schema(url), hosts.rows(url)
    upgrade(url)
    assert hosts.value(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'App'") == 9
    assert hosts.value(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    daemon = start_daemon(database=Database("postgres", url))
    call = CallMaker(TENANT["uuid"])
    for event in call.answered():
        assert daemon.post_event(event).status == 200
    assert daemon.outcome(call.sid, TENANT["uuid"]).json()["outcome"] == "completed"
    daemon.stop()
    downgrade(url)
    assert hosts.schema(url) == schema
    assert hosts.rows(url) == rows


def test_a_row_of_ours_that_the_hosts_tables_refer_to_stays(postgres_url, upgrade, downgrade, start_daemon):
    hosts.execute(postgres_url, hosts.UUID_HOST)
    upgrade(postgres_url)
    daemon = start_daemon(database=Database("postgres", postgres_url))
    noted, plain = CallMaker(TENANT["uuid"]), CallMaker(TENANT["uuid"])
    for event in noted.answered() + plain.answered():
        assert daemon.post_event(event).status == 200
    daemon.stop()
    row = hosts.value(postgres_url, 'SELECT id FROM call_logs WHERE "livekitRoomSid" = %s', noted.sid)
    hosts.query(postgres_url, 'INSERT INTO call_notes ("callId", note) VALUES (%s, %s) RETURNING id', row, "a note on a call of ours")
    text = downgrade(postgres_url)
    assert "removed 1 rows of ours from call_logs" in text and "kept 1 rows of ours in call_logs" in text
    assert hosts.value(postgres_url, "SELECT count(*) FROM call_logs WHERE id = %s", row) == 1
    assert hosts.value(postgres_url, "SELECT count(*) FROM call_notes") == 2
    assert hosts.value(postgres_url, "SELECT count(*) FROM call_logs") == 3


def test_a_claimed_row_loses_only_what_was_added(postgres_url, upgrade, downgrade, start_daemon):
    hosts.execute(postgres_url, hosts.UUID_HOST)
    upgrade(postgres_url)
    call = CallMaker(None, started_s=int(time.time()) - 30)
    hosts.query(postgres_url, 'INSERT INTO call_logs ("userId", "livekitRoomName", metadata, "updatedAt") VALUES (%s, %s, %s, now()) RETURNING id',
                TENANT["uuid"], call.name, '{"crm": 9}')
    daemon = start_daemon(database=Database("postgres", postgres_url))
    for event in call.answered():
        assert daemon.post_event(event).status == 200
    assert daemon.outcome(call.sid, TENANT["uuid"]).json()["outcome"] == "completed"
    daemon.stop()
    metadata = 'SELECT metadata FROM call_logs WHERE "livekitRoomName" = %s'
    assert set(hosts.value(postgres_url, metadata, call.name)) == {"crm", "outcomed"}
    downgrade(postgres_url)
    assert hosts.value(postgres_url, metadata, call.name) == {"crm": 9}


# ---- refusals ----

def test_a_newer_schema_is_refused_by_every_command(postgres_url, migrate, upgrade, outcomed_binary):
    upgrade(postgres_url)
    hosts.execute(postgres_url, "INSERT INTO outcomed_migrations (version, name, sha256) VALUES (99, 'later', 'x')")
    before = hosts.schema(postgres_url)
    for words in (("upgrade", "--yes"), ("downgrade", "--yes")):
        code, text = migrate(postgres_url, *words)
        assert code != 0 and "99" in text and "newer" in text
    assert hosts.schema(postgres_url) == before


def test_an_altered_migration_is_refused(postgres_url, migrate, upgrade):
    upgrade(postgres_url)
    hosts.execute(postgres_url, "UPDATE outcomed_migrations SET sha256 = repeat('0', 64) WHERE version = 2")
    for words in (("upgrade", "--yes"), ("downgrade", "--yes")):
        code, text = migrate(postgres_url, *words)
        assert code != 0 and "checksum" in text


def test_events_that_are_there_twice_stop_the_upgrade_with_the_mend(postgres_url, migrate, upgrade):
    hosts.execute(postgres_url, hosts.OLDER_MODULE_BARE)
    hosts.execute(postgres_url, "INSERT INTO livekit_call_events VALUES ('x2', 1, 'EV_old1', 'room_started', 'r', now(), '{}', true, 0, now())")
    before = hosts.schema(postgres_url)
    code, text = migrate(postgres_url, "upgrade", "--yes")
    assert code != 0 and "EV_old1" in text
    assert hosts.schema(postgres_url) == before
    mend = re.search(r"DELETE FROM livekit_call_events .*?;", text)[0]
    hosts.execute(postgres_url, mend)
    upgrade(postgres_url)
    assert hosts.value(postgres_url, "SELECT count(*) FROM livekit_call_events") == 1


def test_room_sids_that_are_there_twice_make_the_index_not_unique(postgres_url, upgrade):
    hosts.execute(postgres_url, hosts.BARE_HOST)
    assert "not unique" in upgrade(postgres_url)
    definition = hosts.value(postgres_url, "SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_call_logs_livekitRoomSid'")
    assert "UNIQUE" not in definition


def test_a_view_in_the_place_of_a_table_is_refused(postgres_url, migrate):
    hosts.execute(postgres_url, "CREATE VIEW call_logs AS SELECT 1 AS id")
    code, text = migrate(postgres_url, "upgrade", "--yes")
    assert code != 0 and "call_logs is no table" in text


@pytest.fixture
def plain_role(postgres_url, postgres_server):
    """The URL of a role that may connect and nothing else."""
    name = "outcomed_plain_" + os.urandom(4).hex()
    hosts.execute(postgres_url, f"CREATE ROLE {name} LOGIN PASSWORD 'plain'")
    parts = urllib.parse.urlsplit(postgres_url)
    yield name, urllib.parse.urlunsplit(parts._replace(netloc=f"{name}:plain@{parts.netloc.rpartition('@')[2]}"))
    hosts.execute(postgres_url, f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_role_that_may_not_create_tables_is_told_which_grant(postgres_url, plain_role, migrate):
    name, url = plain_role
    code, text = migrate(url, "upgrade", "--yes")
    assert code != 0
    grant = re.search(r"GRANT CREATE, USAGE ON SCHEMA \S+ TO \w+", text)[0]
    hosts.execute(postgres_url, grant)
    code, text = migrate(url, "upgrade", "--yes")
    assert code == 0, text


def test_a_role_that_does_not_own_the_hosts_table_is_told_who_does(postgres_url, plain_role, migrate):
    name, url = plain_role
    hosts.execute(postgres_url, hosts.UUID_HOST + f"GRANT CREATE, USAGE ON SCHEMA public TO {name}; GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    code, text = migrate(url, "upgrade", "--yes")
    assert code != 0 and "must be owner of table call_logs" in text and "postgres" in text
    assert hosts.value(postgres_url, "SELECT to_regclass('call_facts')") is None


# ---- interruptions ----

def test_a_statement_that_fails_in_the_middle_leaves_nothing_of_its_version(postgres_url, migrate, upgrade):
    hosts.execute(postgres_url, hosts.UUID_HOST + "CREATE TABLE call_facts (mine INT);")
    before = hosts.schema(postgres_url)
    code, text = migrate(postgres_url, "upgrade", "--yes")
    assert code != 0 and "call_facts" in text
    assert hosts.query(postgres_url, "SELECT version FROM outcomed_migrations") == [(1,)]
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'call_logs' AND column_name = 'outcome'"
    assert hosts.value(postgres_url, columns) == 0
    hosts.execute(postgres_url, "DROP TABLE call_facts")
    upgrade(postgres_url)
    assert hosts.value(postgres_url, columns) == 1
    assert migrate(postgres_url, "downgrade", "--yes")[0] == 0
    hosts.execute(postgres_url, "CREATE TABLE call_facts (mine INT)")
    assert hosts.schema(postgres_url) == before


def test_an_index_that_was_left_half_built_is_built_anew(postgres_url, migrate, upgrade, outcomed_binary):
    hosts.execute(postgres_url, hosts.OLDER_MODULE)
    upgrade(postgres_url)
    # As a kill in the middle of CREATE INDEX CONCURRENTLY leaves it: noted, there, and not valid.
    hosts.execute(postgres_url, "UPDATE outcomed_changes SET pending = true WHERE name IN ('idx_lce_room', 'idx_lce_aside')")
    hosts.execute(postgres_url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_lce_room'::regclass")
    hosts.execute(postgres_url, "DROP INDEX idx_lce_aside")
    served = subprocess.run([outcomed_binary, "serve", "--listen", "127.0.0.1:0", "--database", postgres_url], env=environment(),
                            capture_output=True, text=True, timeout=60)
    assert served.returncode != 0 and "migrate upgrade" in served.stderr
    text = upgrade(postgres_url)
    assert "building index idx_lce_room" in text and "building index idx_lce_aside" in text
    assert hosts.value(postgres_url, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert indexes(postgres_url, "livekit_call_events") >= JOURNAL_INDEXES


def test_indexes_on_tables_with_rows_do_not_keep_writers_out(postgres_url, outcomed_binary):
    hosts.execute(postgres_url, hosts.OLDER_MODULE)
    with psycopg.connect(postgres_url) as reader:
        # A transaction that has looked at the table holds CREATE INDEX CONCURRENTLY up; writers go on meanwhile.
        reader.execute("SELECT count(*) FROM livekit_call_events")
        upgrade = subprocess.Popen([outcomed_binary, "migrate", "upgrade", "--yes", "--database", postgres_url], env=environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            said = ""
            while "trying again" not in said and "building index" not in said:
                line = upgrade.stdout.readline()
                assert line, said
                said += line
            started = time.monotonic()
            for i in range(5):
                hosts.query(postgres_url, 'INSERT INTO livekit_call_events ("userId", "callLogId", "eventId", event, "roomName", timestamp, "rawPayload") '
                            "SELECT \"userId\", \"callLogId\", %s, event, \"roomName\", timestamp, \"rawPayload\" FROM livekit_call_events "
                            "WHERE \"eventId\" = 'EV_old1' RETURNING id", f"EV_during{i}")
                time.sleep(0.1)
            assert time.monotonic() - started < 20
            reader.rollback()
            rest = upgrade.communicate(timeout=90)[0]
        finally:
            upgrade.kill()
            upgrade.wait()
    assert upgrade.returncode == 0, said + rest
    assert hosts.value(postgres_url, "SELECT count(*) FROM livekit_call_events") == 7
    assert hosts.value(postgres_url, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


def test_a_table_that_is_locked_is_waited_for(postgres_url, outcomed_binary):
    hosts.execute(postgres_url, hosts.UUID_HOST)
    with psycopg.connect(postgres_url) as holder:
        holder.execute("LOCK TABLE call_logs IN ACCESS SHARE MODE")
        upgrade = subprocess.Popen([outcomed_binary, "migrate", "upgrade", "--yes", "--database", postgres_url], env=environment(),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            said = ""
            while "trying again" not in said:
                line = upgrade.stdout.readline()
                assert line, said
                said += line
            assert hosts.value(postgres_url, "SELECT count(*) FROM call_logs") == 2  # nobody queues behind the waiting ALTER TABLE
            holder.rollback()
            rest = upgrade.communicate(timeout=90)[0]
        finally:
            upgrade.kill()
            upgrade.wait()
    assert upgrade.returncode == 0, said + rest
    assert hosts.value(postgres_url, "SELECT max(version) FROM outcomed_migrations") == 4


def test_upgrades_at_once_take_turns(postgres_url, upgrade):
    hosts.execute(postgres_url, hosts.OLDER_MODULE)
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(upgrade(postgres_url))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 3 and sum("nothing to do" in text for text in texts) == 2
    assert hosts.query(postgres_url, "SELECT version FROM outcomed_migrations ORDER BY 1") == [(1,), (2,), (3,), (4,)]


def test_status_names_the_columns_that_keep_us_from_inserting(postgres_url, migrate, upgrade):
    hosts.execute(postgres_url, hosts.STRICT_HOST)
    upgrade(postgres_url)
    assert '"agentId"' in migrate(postgres_url, "status")[1]
