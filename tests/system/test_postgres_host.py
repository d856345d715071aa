"""outcomed beside a host application's tables on PostgreSQL: whatever their types, keys and constraints, no event is lost and no batch fails."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import time
import urllib.parse

import psycopg
import pytest

from support import hosts
from support.daemon import Database, Daemon, environment
from support.events import CallMaker, new_id

pytestmark = pytest.mark.integration

ONE, TWO = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"


@pytest.fixture
def serve_on(postgres_url, start_daemon):
    """serve_on(sql) makes the host's tables and gives a daemon that serves on them, migrated."""

    def start(sql: str, *args: str) -> Daemon:
        hosts.execute(postgres_url, sql)
        return start_daemon(*args, database=Database("postgres", postgres_url))

    return start


def send(daemon: Daemon, events: list[dict]) -> None:
    for event in events:
        reply = daemon.post_event(event)
        assert reply.status == 200, reply.body


def one(daemon: Daemon, sql: str, *arguments):
    rows = daemon.database.query(sql, *arguments)
    assert len(rows) == 1, rows
    return rows[0]


def eventually(look, timeout_s: float = 20):
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)
    return found


# ---- types ----

def test_a_hosts_row_with_uuid_keys_is_claimed_and_filled(serve_on):
    daemon = serve_on(hosts.UUID_HOST)
    call = CallMaker(None, started_s=int(time.time()) - 30)
    (row,) = one(daemon, 'INSERT INTO call_logs ("userId", "livekitRoomName", "updatedAt", metadata) VALUES (?, ?, now(), ?) RETURNING id',
                 ONE, call.name, '{"crm": 1}')
    send(daemon, call.answered())
    sid, direction, number, outcome, status, metadata, owner = one(
        daemon, 'SELECT "livekitRoomSid", direction, "phoneNumber", outcome, status, metadata, "userId"::text FROM call_logs WHERE id = ?', row)
    assert (sid, direction, number, outcome, status, owner) == (call.sid, "outbound", call.number, "completed", "ended", ONE)
    assert metadata["crm"] == 1 and metadata["outcomed"]["reason"] == "hangup"
    shown = daemon.outcome(str(row), ONE).json()
    assert shown["id"] == str(row) and shown["outcome"] == "completed" and shown["livekitRoomSid"] == call.sid
    assert daemon.outcome(call.sid, TWO).status == 404
    assert daemon.database.count("livekit_call_events", '"userId" = ? AND "callLogId" = ?', ONE, str(row)) == 10


def test_times_without_zone_are_utc(serve_on):
    daemon = serve_on(hosts.ENUM_HOST + "SET timezone = 'Asia/Tokyo';")
    call = CallMaker("1", started_s=1790000000)
    send(daemon, call.answered())
    started, zone = one(daemon, 'SELECT "startedAt", "createdAt" > now() - interval \'1 hour\' FROM call_logs WHERE "livekitRoomSid" = ?', call.sid)
    assert started.isoformat().startswith("2026-09-21T14:13:2") and zone
    assert daemon.outcome(call.sid, "1").json()["startedAt"].startswith("2026-09-21T14:13:2")


def test_a_row_is_inserted_with_a_key_that_the_table_makes(serve_on):
    daemon = serve_on(hosts.ENUM_HOST)
    call = CallMaker("2")
    send(daemon, call.answered())
    row, owner, outcome, status, duration = one(
        daemon, 'SELECT id, "userId", outcome::text, status::text, duration FROM call_logs WHERE "livekitRoomSid" = ?', call.sid)
    assert (owner, outcome, status) == (2, "completed", "ended") and duration > 0
    assert one(daemon, 'SELECT "callLogId", "callLogIsOurs" FROM call_facts WHERE "roomSid" = ?', call.sid) == (str(row), 1)
    assert daemon.outcome(str(row), "2").json()["outcome"] == "completed"
    assert daemon.database.count("call_logs", '"livekitRoomSid" = ?', call.sid) == 1


def test_a_word_that_the_hosts_enum_lacks_leaves_the_column(serve_on):
    daemon = serve_on(hosts.ENUM_HOST.replace("('completed', 'no_answer')", "('won', 'lost')").replace("'active', 'ended', ", ""))
    call = CallMaker("1")
    send(daemon, call.answered())
    outcome, status = one(daemon, 'SELECT outcome::text, status::text FROM call_logs WHERE "livekitRoomSid" = ?', call.sid)
    assert (outcome, status) == (None, "scheduled")
    assert daemon.outcome(call.sid, "1").json()["outcome"] == "completed"


def test_a_text_that_is_no_json_is_left_as_it_is(serve_on):
    daemon = serve_on(hosts.BARE_HOST)
    daemon.database.query("UPDATE call_logs SET \"livekitRoomSid\" = NULL")
    calls = [CallMaker(None) for _ in range(2)]
    for call, text in zip(calls, ("no JSON", None), strict=True):
        daemon.database.query('INSERT INTO call_logs (id, "userId", "livekitRoomName", metadata) VALUES (?, ?, ?, ?)', call.name, "user-1", call.name, text)
        send(daemon, call.answered())
    assert one(daemon, "SELECT metadata, outcome FROM call_logs WHERE id = ?", calls[0].name) == ("no JSON", "completed")
    assert '"outcomed"' in one(daemon, "SELECT metadata FROM call_logs WHERE id = ?", calls[1].name)[0]


def test_json_keys_of_the_host_stay_beside_ours(serve_on):
    daemon = serve_on(hosts.ENUM_HOST)
    call = CallMaker(None)
    daemon.database.query('INSERT INTO call_logs ("userId", "livekitRoomName", metadata) VALUES (1, ?, ?)', call.name, '{"z": [1, 2], "a": "b"}')
    send(daemon, call.answered())
    (metadata,) = one(daemon, 'SELECT metadata FROM call_logs WHERE "livekitRoomSid" = ?', call.sid)
    assert metadata["z"] == [1, 2] and metadata["a"] == "b" and metadata["outcomed"]["confidence"] == "certain"


# ---- tenants that the host does not know ----

@pytest.mark.multitenant
@pytest.mark.parametrize(("sql", "tenant", "others"), [
    (hosts.STRICT_HOST, "1", ["01", "+1", " 1", "1 ", "1.0", "1e0", "0x1"]),
    (hosts.UUID_HOST.replace("00000000-0000-4000-8000-000000000001", "a0000000-0000-4000-8000-000000000001"), "a0000000-0000-4000-8000-000000000001",
     ["A0000000-0000-4000-8000-000000000001", "a0000000000040008000000000000001", "{a0000000-0000-4000-8000-000000000001}"])])
def test_a_tenant_has_one_spelling(serve_on, sql, tenant, others):
    """Whatever the type of the host's column takes for equal: the list shows what the outcome shows."""
    daemon = serve_on(sql)
    calls = daemon.get("/api/calls?user_id=" + tenant).json()["calls"]
    assert calls
    for other in others:
        query = "user_id=" + urllib.parse.quote(other)
        assert daemon.get("/api/calls?" + query).json()["calls"] == [], other
        assert daemon.get(f"/api/calls/{calls[0]['id']}/outcome?{query}").status == 404, other


@pytest.mark.multitenant
@pytest.mark.parametrize(("sql", "tenant"), [(hosts.UUID_HOST, "user-1"), (hosts.UUID_HOST, "00000000-0000-4000-8000-0000000000ff"),
                                             (hosts.ENUM_HOST, "4711"), (hosts.ENUM_HOST, "99999999999999999999"), (hosts.ENUM_HOST, "1 OR 1=1"),
                                             (hosts.OLDER_MODULE, "user-1"), (hosts.OLDER_MODULE_BARE, "no number")])
def test_a_tenant_that_the_host_does_not_know_costs_no_event(serve_on, sql, tenant):
    daemon = serve_on(sql)
    call = CallMaker(tenant)
    send(daemon, call.answered())
    assert daemon.database.count("livekit_call_events", '"roomSid" = ? AND source IS NOT NULL', call.sid) == 10
    if "CREATE TABLE call_logs" in sql:
        assert daemon.database.count("call_logs", '"livekitRoomSid" = ?', call.sid) == 0
    assert one(daemon, 'SELECT "userId", outcome FROM call_facts WHERE "roomSid" = ?', call.sid) == (tenant, "completed")
    assert daemon.get(f"/api/calls/{call.sid}/outcome?user_id={tenant.replace(' ', '%20')}").json()["outcome"] == "completed"


def test_a_tenant_that_turns_up_in_the_users_table_gets_the_next_events(serve_on):
    daemon = serve_on(hosts.ENUM_HOST)
    call = CallMaker("8")
    events = call.answered()
    send(daemon, events[:-1])
    assert daemon.database.count("call_logs", '"livekitRoomSid" = ?', call.sid) == 0
    daemon.database.query("INSERT INTO users VALUES (8)")
    send(daemon, events[-1:])
    assert one(daemon, 'SELECT "userId", outcome::text FROM call_logs WHERE "livekitRoomSid" = ?', call.sid) == (8, "completed")


# ---- what the host's table refuses ----

def test_a_verdict_waits_for_the_row_that_only_the_host_can_write(serve_on):
    daemon = serve_on(hosts.STRICT_HOST)
    call = CallMaker("1")
    send(daemon, call.answered())
    assert daemon.database.count("call_logs", '"livekitRoomSid" = ?', call.sid) == 0
    assert daemon.outcome(call.sid, "1").json()["outcome"] == "completed"
    daemon.database.query('INSERT INTO call_logs ("userId", "agentId", "livekitRoomName", "livekitRoomSid") VALUES (1, 2, ?, ?)', call.name, call.sid)
    status = eventually(lambda: daemon.database.query("SELECT status FROM call_logs WHERE \"livekitRoomSid\" = ? AND outcome = 'completed'", call.sid))
    assert status == [("ended",)]
    assert daemon.database.count("livekit_call_events", '"roomSid" = ? AND "callLogId" IS NOT NULL', call.sid) == 10


REFUSING = {
    "check": "ALTER TABLE call_logs ADD CHECK (\"phoneNumber\" <> '+12025550199');",
    "exclusive": 'CREATE UNIQUE INDEX one_number ON call_logs ((1)) WHERE "phoneNumber" = \'+12025550199\';'
                 'INSERT INTO call_logs (id, "userId", "phoneNumber") VALUES (\'first\', \'u\', \'+12025550199\');',
    "trigger": "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.\"phoneNumber\" = '+12025550199' THEN "
               "RAISE EXCEPTION 'not that one'; END IF; RETURN NEW; END $$;"
               "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON call_logs FOR EACH ROW EXECUTE FUNCTION refuse();",
    "deferred": "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.\"phoneNumber\" = '+12025550199' THEN "
                "RAISE EXCEPTION 'not that one'; END IF; RETURN NULL; END $$;"
                "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE ON call_logs DEFERRABLE INITIALLY DEFERRED "
                "FOR EACH ROW EXECUTE FUNCTION refuse();",
    "broken_trigger": "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.\"phoneNumber\" = '+12025550199' THEN "
                      "INSERT INTO gone_table VALUES (1); END IF; RETURN NEW; END $$;"
                      "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON call_logs FOR EACH ROW EXECUTE FUNCTION refuse();",
}
PHONE_HOST = """CREATE TABLE call_logs (id TEXT PRIMARY KEY, "userId" TEXT, "livekitRoomName" TEXT, "phoneNumber" TEXT,
                "createdAt" TIMESTAMPTZ DEFAULT now());"""


@pytest.mark.parametrize("kind", REFUSING)
def test_a_row_that_the_hosts_table_refuses_costs_no_event_and_no_other_row(serve_on, kind):
    daemon = serve_on(PHONE_HOST + REFUSING[kind])
    refused, taken = CallMaker(number="+12025550199"), [CallMaker(number=f"+1202555010{i}") for i in range(6)]
    calls = [refused, *taken]
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        list(pool.map(lambda call: send(daemon, call.answered()), calls))
    assert daemon.database.count("livekit_call_events", "processed = 1") == 10 * len(calls)
    for call in calls:
        assert daemon.outcome(call.sid, "user-1").json()["outcome"] == "completed"
    for call in taken:
        assert one(daemon, 'SELECT outcome FROM call_logs WHERE "livekitRoomSid" = ?', call.sid) == ("completed",)
    assert "store_refused" not in daemon.log()
    assert daemon.get("/readyz").status == 200


def test_a_host_that_alters_its_table_meanwhile_is_followed(serve_on):
    daemon = serve_on(PHONE_HOST)
    first, second, third = CallMaker(), CallMaker(), CallMaker()
    send(daemon, first.answered())
    daemon.database.query('ALTER TABLE call_logs DROP COLUMN "recordingUrl", ALTER COLUMN status TYPE VARCHAR(40), ADD COLUMN note TEXT')
    assert daemon.wait_outcome(first.sid, "user-1")["outcome"] == "completed"
    send(daemon, second.answered())
    daemon.database.query('ALTER TABLE call_logs ADD COLUMN "mustHave" INT NOT NULL DEFAULT 7, ALTER COLUMN duration TYPE BIGINT')
    send(daemon, third.answered())
    for call in (second, third):
        assert daemon.wait_outcome(call.sid, "user-1")["outcome"] == "completed"
    assert one(daemon, 'SELECT status FROM call_logs WHERE "livekitRoomSid" = ?', third.sid) == ("ended",)


# ---- the older module's journal ----

@pytest.mark.parametrize(("sql", "tenant"), [(hosts.OLDER_MODULE, ONE), (hosts.OLDER_MODULE_BARE, "2")])
def test_events_fit_into_the_older_modules_table(serve_on, sql, tenant):
    daemon = serve_on(sql)
    call = CallMaker(tenant)
    waiting = {"event": "room_started", "id": new_id("EV"), "createdAt": str(call.started_s + 2), "room": {"name": call.name}}
    nowhere = {"event": "room_started", "id": new_id("EV"), "createdAt": str(call.started_s), "room": {"name": "another " + call.name}}
    send(daemon, [waiting, nowhere, *call.answered(), call.answered()[0]])
    assert daemon.post(b"this is not JSON").status == 200
    owned = 'source IS NOT NULL AND "roomSid" = ? AND "userId"::text = ?'
    assert daemon.database.count("livekit_call_events", owned, call.sid, tenant) == 12
    assert daemon.database.count("livekit_call_events", "source IS NOT NULL AND \"roomSid\" IS NULL") == 2
    assert daemon.database.count("livekit_call_events", "\"rawBody\" IS NOT NULL AND \"userId\" IS NULL") == 1
    assert daemon.database.count("livekit_call_events", "processed::int = 0 AND source IS NOT NULL") == 2
    assert daemon.database.count("livekit_call_events", "source IS NULL") == (2 if "call_notes" in sql else 1)
    assert daemon.outcome(call.sid, tenant).json()["outcome"] == "completed"
    rows, cursor = [], ""
    while cursor is not None:
        page = daemon.get(f"/api/calls/{call.sid}/events?user_id={tenant}&limit=5" + (f"&cursor={cursor}" if cursor else "")).json()
        rows, cursor = rows + page["events"], page["nextCursor"]
    assert waiting["id"] in {row["eventId"] for row in rows} and nowhere["id"] not in {row["eventId"] for row in rows}
    assert len({row["eventId"] for row in rows}) == len(rows) == 12
    assert all(row["source"] == "livekit" and row["rawPayload"]["id"] == row["eventId"] for row in rows if row["rawPayload"])
    assert [row["createdAt"] for row in rows] == sorted(row["createdAt"] for row in rows)
    assert len(daemon.get(f"/api/calls/{call.sid}?user_id={tenant}").json()["legs"]) == 2


# ---- privileges ----

def test_the_grants_that_the_page_lists_are_enough_to_serve(postgres_url, start_daemon, outcomed_binary):
    role = "outcomed_serves_" + os.urandom(4).hex()
    hosts.execute(postgres_url, hosts.ENUM_HOST)
    subprocess.run([outcomed_binary, "migrate", "upgrade", "--yes", "--database", postgres_url], check=True, env=environment(), timeout=60)
    hosts.execute(postgres_url, f"""
        CREATE ROLE {role} LOGIN PASSWORD 'serves';
        GRANT outcomed_writer, outcomed_reader TO {role};
        GRANT SELECT ON users TO {role};
        GRANT USAGE ON SEQUENCE call_logs_id_seq TO {role};""")
    parts = urllib.parse.urlsplit(postgres_url)
    url = urllib.parse.urlunsplit(parts._replace(netloc=f"{role}:serves@{parts.netloc.rpartition('@')[2]}"))
    try:
        daemon = start_daemon(database=Database("postgres", url))
        ours, theirs = CallMaker("1"), CallMaker(None)
        daemon.database.query('INSERT INTO call_logs ("userId", "livekitRoomName") VALUES (2, ?)', theirs.name)
        send(daemon, ours.answered() + theirs.answered())
        assert daemon.outcome(ours.sid, "1").json()["outcome"] == daemon.outcome(theirs.sid, "2").json()["outcome"] == "completed"
        assert daemon.stop() == 0
    finally:
        hosts.execute(postgres_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_table_that_may_not_be_read_is_named_with_its_grant(postgres_url, outcomed_binary):
    role = "outcomed_blind_" + os.urandom(4).hex()
    hosts.execute(postgres_url, hosts.ENUM_HOST)
    subprocess.run([outcomed_binary, "migrate", "upgrade", "--yes", "--database", postgres_url], check=True, env=environment(), timeout=60)
    hosts.execute(postgres_url, f"CREATE ROLE {role} LOGIN PASSWORD 'blind'; GRANT ALL ON livekit_call_events, call_facts, call_logs, "
                                f"outcomed_migrations, outcomed_changes TO {role}")
    parts = urllib.parse.urlsplit(postgres_url)
    url = urllib.parse.urlunsplit(parts._replace(netloc=f"{role}:blind@{parts.netloc.rpartition('@')[2]}"))
    try:
        done = subprocess.run([outcomed_binary, "serve", "--listen", "127.0.0.1:0", "--database", url], env=environment(), capture_output=True,
                              text=True, timeout=60)
        assert done.returncode != 0 and "GRANT SELECT ON users TO" in done.stderr, done.stderr
    finally:
        hosts.execute(postgres_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


# ---- a server in trouble ----

@contextlib.contextmanager
def frozen(daemon: Daemon):
    """The server processes that serve this daemon, stopped."""
    pids = [pid for (pid,) in daemon.database.query("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")]
    if not all(os.path.exists(f"/proc/{pid}") for pid in pids):
        pytest.skip("the server runs elsewhere")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_a_server_that_stops_answering_is_left_for_a_new_connection(serve_on):
    daemon = serve_on("")
    first, second = CallMaker(), CallMaker()
    send(daemon, first.answered())
    with frozen(daemon):
        started = time.monotonic()
        reply = daemon.post_event(second.answered()[0])
        assert reply.status in (200, 503) and time.monotonic() - started < 25
        eventually(lambda: daemon.post_event(second.answered()[0]).status == 200, 40)
    send(daemon, second.answered())
    assert daemon.wait_outcome(second.sid, "user-1")["outcome"] == "completed"


def test_connections_that_are_cut_lose_nothing_that_was_acknowledged(serve_on):
    daemon = serve_on("")
    calls = [CallMaker() for _ in range(40)]
    acknowledged: set[str] = set()

    def keep_sending(call: CallMaker) -> None:
        for event in call.answered():
            while daemon.post_event(event).status != 200:
                time.sleep(0.05)
            acknowledged.add(event["id"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        sending = [pool.submit(keep_sending, call) for call in calls]
        for _ in range(6):
            time.sleep(0.3)
            daemon.database.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        for future in sending:
            future.result(120)
    assert acknowledged == daemon.database.event_ids() and len(acknowledged) == 400
    for call in calls:
        assert daemon.wait_outcome(call.sid, "user-1")["outcome"] == "completed"


@pytest.mark.idempotency
def test_two_nodes_that_get_the_same_events_count_them_once(serve_on, start_daemon):
    nodes = [serve_on("")]
    nodes.append(start_daemon(database=nodes[0].database))
    calls = [CallMaker() for _ in range(24)]
    events = [event for call in calls for event in call.answered()]
    nameless = [{"event": "room_started", "id": new_id("EV"), "createdAt": "1790000000"} for _ in range(20)]

    def deliver(node: Daemon, part: int) -> None:
        for event in (events + nameless)[part::6]:
            assert node.post_event(event).status == 200

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for future in [pool.submit(deliver, node, part) for part in range(6) for node in nodes]:
            future.result(120)
    assert nodes[0].database.event_ids() == {e["id"] for e in events + nameless}
    assert nodes[0].database.count("call_logs") == len(calls)
    for call in calls:
        assert nodes[1].wait_outcome(call.sid, "user-1")["outcome"] == "completed"
    facts = nodes[0].database.query("SELECT revision FROM call_facts")
    assert all(revision >= 1 for (revision,) in facts)


def test_a_tenants_row_locked_by_the_host_delays_and_loses_nothing(serve_on, postgres_url):
    daemon = serve_on(PHONE_HOST)
    call = CallMaker(None)
    daemon.database.query('INSERT INTO call_logs (id, "userId", "livekitRoomName") VALUES (?, ?, ?)', "h", "user-1", call.name)
    with psycopg.connect(postgres_url) as host:
        host.execute("SELECT 1 FROM call_logs WHERE id = 'h' FOR UPDATE")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send, daemon, call.answered())
            time.sleep(1.5)
            host.rollback()
            sending.result(60)
    eventually(lambda: daemon.outcome(call.sid, "user-1").json().get("outcome") == "completed")  # what was late is in the spool first
    assert one(daemon, 'SELECT "livekitRoomSid" FROM call_logs WHERE id = ?', "h") == (call.sid,)


def test_a_lock_of_the_host_that_lasts_holds_up_only_its_own_row(serve_on, postgres_url):
    daemon = serve_on(PHONE_HOST)
    call, other = CallMaker(None), CallMaker()
    daemon.database.query('INSERT INTO call_logs (id, "userId", "livekitRoomName") VALUES (?, ?, ?)', "h", "user-1", call.name)
    with psycopg.connect(postgres_url) as host:
        host.execute("SELECT 1 FROM call_logs WHERE id = 'h' FOR UPDATE")
        started = time.monotonic()
        send(daemon, call.answered())
        send(daemon, other.answered())
        assert time.monotonic() - started < 8
        eventually(lambda: daemon.outcome(other.sid, "user-1").json().get("outcome") == "completed")
        host.rollback()
    eventually(lambda: one(daemon, "SELECT outcome, status FROM call_logs WHERE id = ?", "h") == ("completed", "ended"))
    assert daemon.outcome(call.sid, "user-1").json()["outcome"] == "completed"
    assert one(daemon, 'SELECT count(*) FROM livekit_call_events WHERE "callLogId" = ?', "h") == (len(call.answered()),)
