"""Row-level security on PostgreSQL stands behind the queries: whose rows a connection sees is decided by its role and by the tenant of its
transaction, for every table of ours, and never for a table of the host's."""

import os
import re
import subprocess
import urllib.parse

import psycopg
import pytest

from support import hosts
from support.daemon import Database, environment
from support.events import CallMaker

pytestmark = [pytest.mark.integration, pytest.mark.multitenant]

# Tables of ours that hold nobody's data.
TENANTLESS = {"outcomed_migrations", "outcomed_changes"}


def run(binary, *words: str) -> tuple[int, str]:
    done = subprocess.run([binary, *words], env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def make_login(postgres_url):
    """make_login(options) makes a role that may log in: (its name, its URL)."""
    names = []

    def make(options: str = "") -> tuple[str, str]:
        name = "outcomed_login_" + os.urandom(4).hex()
        hosts.execute(postgres_url, f"CREATE ROLE {name} LOGIN PASSWORD 'login' {options}")
        names.append(name)
        parts = urllib.parse.urlsplit(postgres_url)
        return name, urllib.parse.urlunsplit(parts._replace(netloc=f"{name}:login@{parts.netloc.rpartition('@')[2]}"))

    yield make
    for name in names:
        hosts.execute(postgres_url, f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}")


@pytest.fixture
def filled(postgres_url, start_daemon):
    """A database with two tenants' calls, a replaced verdict among them: (its URL, the calls by tenant)."""
    daemon = start_daemon(database=Database("postgres", postgres_url))
    calls = {name: [CallMaker(name), CallMaker(name)] for name in ("acme", "globex")}
    for name, (done, missed) in calls.items():
        for event in done.answered() + missed.unanswered():
            assert daemon.post_event(event).status == 200
        hosts.execute(postgres_url, f"INSERT INTO call_revisions VALUES ('{done.sid}', 1, 'busy', 1, '{{}}')")
    daemon.stop()
    return postgres_url, calls


def counts(db: psycopg.Connection) -> dict[str, int]:
    return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("livekit_call_events", "call_logs", "call_facts", "call_legs", "call_revisions")}


def as_reader(url: str, *tenants: str) -> list[dict[str, int]]:
    """What the reader's role counts in each table, for one tenant after the other, on one connection."""
    seen = []
    with psycopg.connect(url) as db:
        for tenant in tenants:
            with db.transaction():
                db.execute("SET LOCAL ROLE outcomed_reader")
                db.execute("SELECT set_config('outcomed.tenant', %s, true)", (tenant,))
                seen.append(counts(db))
    return seen


# ---- every table ----

@pytest.mark.parametrize("host", hosts.HOSTS)
def test_every_table_that_upgrade_makes_is_under_forced_policies_and_no_other(postgres_url, outcomed_binary, host):
    hosts.execute(postgres_url, hosts.HOSTS[host])
    before = {name for (name,) in hosts.query(postgres_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert run(outcomed_binary, "migrate", "upgrade", "--yes", "--database", postgres_url)[0] == 0
    tables = hosts.query(postgres_url, """
        SELECT t.relname, t.relrowsecurity, t.relforcerowsecurity, array(SELECT polname::text FROM pg_policy WHERE polrelid = t.oid ORDER BY 1)
        FROM pg_class t WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p')""")
    for name, enabled, forced, policies in tables:
        if name in before | TENANTLESS:
            assert (enabled, forced, policies) == (False, False, []), name
        else:
            assert (enabled, forced) == (True, True), f"{name} has no row-level security: a migration has to add it"
            assert policies == ["outcomed_owner", "outcomed_tenant", "outcomed_writer"], name


def test_a_reader_sees_its_tenants_rows_and_without_a_tenant_nothing(filled):
    url, calls = filled
    with psycopg.connect(url) as db:
        everything = counts(db)
        with db.transaction():
            db.execute("SET LOCAL ROLE outcomed_reader")
            assert set(counts(db).values()) == {0}
    acme, nobody, globex, stranger, percent = as_reader(url, "acme", "", "globex", "initech", "%")
    assert all(n > 0 for n in acme.values()) and acme == globex
    assert set(nobody.values()) == set(stranger.values()) == set(percent.values()) == {0}
    assert {table: acme[table] + globex[table] for table in acme} == everything


def test_a_reader_changes_nothing(filled):
    url, calls = filled
    for sql in ("DELETE FROM call_facts", "UPDATE call_logs SET outcome = 'busy'", "TRUNCATE livekit_call_events",
                "INSERT INTO call_legs VALUES ('x', 'y')", "ALTER TABLE call_logs DISABLE ROW LEVEL SECURITY"):
        with psycopg.connect(url) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("SET ROLE outcomed_reader")
            db.execute("SELECT set_config('outcomed.tenant', 'acme', true)")
            db.execute(sql)


def test_a_call_follows_its_row_to_another_tenant(filled, start_daemon):
    """Also where only the row moved, of which the former tenant's reader sees nothing any more."""
    url, calls = filled
    moved, orphan, unnamed = calls["acme"][0], calls["acme"][1], calls["globex"][0]
    hosts.execute(url, f"""UPDATE call_logs SET "userId" = 'globex' WHERE "livekitRoomSid" = '{moved.sid}';
                           DELETE FROM call_logs WHERE "livekitRoomSid" = '{orphan.sid}';
                           UPDATE call_logs SET "userId" = NULL WHERE "livekitRoomSid" = '{unnamed.sid}'""")
    daemon = start_daemon(database=Database("postgres", url))
    for path in ("/outcome", ""):
        for tenant, sids in (("acme", {orphan.sid}), ("globex", {moved.sid, unnamed.sid, calls["globex"][1].sid})):
            for call in calls["acme"] + calls["globex"]:
                reply = daemon.get(f"/api/calls/{call.sid}{path}?user_id={tenant}")
                assert reply.status == (200 if call.sid in sids else 404), (tenant, call.sid)
                if reply.status == 200:
                    assert reply.json()["reason"] is not None


# ---- the daemon ----

def test_the_daemon_reads_as_the_reader_and_only_while_it_reads(filled, start_daemon):
    """A query that forgot its tenant would get nothing: the policies are tried by taking the rows' tenant away from them alone."""
    url, calls = filled
    mine = calls["acme"][0]
    daemon = start_daemon(database=Database("postgres", url))
    assert daemon.outcome(mine.sid, "acme").status == 200
    hosts.execute(url, "ALTER POLICY outcomed_tenant ON call_facts USING (false); ALTER POLICY outcomed_tenant ON call_logs USING (false)")
    assert daemon.outcome(mine.sid, "acme").status == 404
    assert daemon.get(f"/api/calls/{mine.sid}?user_id=acme").status == 404
    assert daemon.get("/api/calls?user_id=acme").json()["calls"] == []
    another = CallMaker("acme")
    for event in another.answered():
        assert daemon.post_event(event).status == 200
    assert daemon.database.count("call_logs", '"livekitRoomSid" = ?', another.sid) == 1


@pytest.mark.parametrize("host", ["empty", "uuid"])
def test_a_login_that_may_not_create_roles_serves_all_the_same(postgres_url, make_login, start_daemon, outcomed_binary, host):
    tenant = "00000000-0000-4000-8000-000000000001" if host == "uuid" else "acme"
    name, url = make_login()
    hosts.execute(url if host == "uuid" else postgres_url, f"GRANT ALL ON SCHEMA public TO {name}" if host == "empty" else "SELECT 1")
    if host == "uuid":
        hosts.execute(postgres_url, f"GRANT ALL ON SCHEMA public TO {name}")
        hosts.execute(url, hosts.UUID_HOST)
    # As on a server where nobody made the roles: this login is no member of them.
    code, text = run(outcomed_binary, "migrate", "upgrade", "--yes", "--database", url)
    assert code == 0 and ("may not create roles" in text or "is not" in text), text
    daemon = start_daemon(database=Database("postgres", url))
    call = CallMaker(tenant)
    for event in call.answered():
        assert daemon.post_event(event).status == 200
    assert daemon.outcome(call.sid, tenant).json()["outcome"] == "completed"
    assert daemon.outcome(call.sid, "globex").status == 404
    assert daemon.stop() == 0


def test_a_login_from_which_every_row_is_hidden_is_told_the_grant(filled, make_login, start_daemon, outcomed_binary):
    """It would take every call for a new one."""
    url, calls = filled
    name, login = make_login()
    hosts.execute(url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    code, text = run(outcomed_binary, "serve", "--listen", "127.0.0.1:0", "--database", login)
    assert code != 0
    hosts.execute(url, re.search(r'GRANT outcomed_writer, outcomed_reader TO "\w+"', text)[0])
    daemon = start_daemon(database=Database("postgres", login))
    assert daemon.outcome(calls["acme"][0].sid, "acme").status == 200
    assert daemon.stop() == 0


def test_who_could_read_and_write_before_can_afterwards(postgres_url, make_login, start_daemon, outcomed_binary):
    """A daemon of the version before goes on while the schema is upgraded, also under a login of its own."""
    daemon_login, _ = make_login()
    dashboard, dashboard_url = make_login()
    assert run(outcomed_binary, "migrate", "upgrade", "--yes", "--to", "3", "--database", postgres_url)[0] == 0
    hosts.execute(postgres_url, f"""
        GRANT SELECT, INSERT, UPDATE ON livekit_call_events TO {daemon_login};
        GRANT SELECT, INSERT, UPDATE, DELETE ON call_facts, call_logs, call_legs, call_revisions TO {daemon_login};
        GRANT SELECT ON call_logs TO {dashboard};
        INSERT INTO call_logs (id, "userId") VALUES ('a', 'acme'), ('b', 'globex')""")
    code, text = run(outcomed_binary, "migrate", "upgrade", "--yes", "--database", postgres_url)
    assert code == 0 and re.search(rf"go on seeing every row of call_logs, as they did: .*{dashboard}", text), text
    assert hosts.value(dashboard_url, "SELECT count(*) FROM call_logs") == 2
    with psycopg.connect(postgres_url) as db:
        db.execute(f"SET ROLE {daemon_login}")
        db.execute("""INSERT INTO call_facts ("roomSid", "userId") VALUES ('RM_1', 'acme')""")
        assert db.execute("""UPDATE call_facts SET "userId" = 'globex'""").rowcount == 1


def checked(binary, url: str) -> str:
    text = run(binary, "check", "--database", url, "--listen", "127.0.0.1:9")[1]
    return next(line for line in text.splitlines() if " row security " in line)


def test_check_says_what_stands_behind_the_queries_and_how_to_add_it(postgres_url, make_login, outcomed_binary):
    name, login = make_login()
    assert run(outcomed_binary, "migrate", "upgrade", "--yes", "--database", postgres_url)[0] == 0
    assert re.match(r"ok +row security +on 5 tables; reads run as outcomed_reader, writes pass over it", checked(outcomed_binary, postgres_url))
    hosts.execute(postgres_url, f"GRANT SELECT ON outcomed_migrations, outcomed_changes TO {name}; GRANT ALL ON call_facts TO {name}")
    line = checked(outcomed_binary, login)
    assert line.startswith("FAIL") and f"every row is hidden from {name}" in line
    hosts.execute(postgres_url, re.search(r"GRANT outcomed_writer, outcomed_reader TO \w+", line)[0])
    assert checked(outcomed_binary, login).startswith("ok ")
    hosts.execute(postgres_url, f"REVOKE outcomed_reader FROM {name}")
    line = checked(outcomed_binary, login)
    assert line.startswith("skip") and f"reads run as {name}, who sees every row" in line
    hosts.execute(postgres_url, line.partition("To add the second line: ")[2])
    assert checked(outcomed_binary, login).startswith("ok ")
    hosts.execute(postgres_url, "ALTER TABLE call_legs NO FORCE ROW LEVEL SECURITY; DROP POLICY outcomed_tenant ON call_revisions")
    line = checked(outcomed_binary, postgres_url)
    assert line.startswith("FAIL") and "call_legs, call_revisions" in line


# ---- up and down ----

def test_downgrade_leaves_a_role_that_another_database_needs(postgres_url, postgres_server, outcomed_binary):
    other = postgres_server.create()
    try:
        for url in (postgres_url, postgres_server.url(other)):
            assert run(outcomed_binary, "migrate", "upgrade", "--yes", "--database", url)[0] == 0
        code, text = run(outcomed_binary, "migrate", "downgrade", "--yes", "--database", postgres_url)
        assert code == 0 and "kept role outcomed_reader" in text, text
        assert len(as_reader(postgres_server.url(other), "acme")) == 1
        assert hosts.value(postgres_url, "SELECT count(*) FROM pg_proc WHERE proname = 'outcomed_call_is_of'") == 0
    finally:
        postgres_server.drop(other)


def test_a_backup_by_the_owner_is_whole(postgres_url, make_login, start_daemon, tmp_path, outcomed_binary):
    """FORCE holds the owner too: pg_dump refuses until it is told that the policies may be applied, and then gets every row."""
    name, url = make_login()
    hosts.execute(postgres_url, f"GRANT ALL ON SCHEMA public TO {name}")
    code, text = run(outcomed_binary, "migrate", "upgrade", "--yes", "--database", url)
    assert code == 0 and "--enable-row-security" in text.splitlines()[0] and f"pg_dump as {name} wants --enable-row-security" in text
    hosts.execute(url, """INSERT INTO call_facts ("roomSid", "userId") VALUES ('RM_1', 'acme'), ('RM_2', 'globex')""")
    dump = [hosts.program("pg_dump"), "--data-only", "--table=call_facts", url]
    assert subprocess.run(dump, capture_output=True, check=False).returncode != 0
    text = subprocess.run([*dump, "--enable-row-security"], check=True, capture_output=True, text=True).stdout
    assert "RM_1" in text and "RM_2" in text
