"""What PostgreSQL itself says no with: sessions ended, deadlocks, locks of the host's, a full disk, another password, another schema. Nothing
acknowledged is lost, nothing counts twice, nobody waits long."""

import concurrent.futures
import signal
import threading
import time

import psycopg
import pytest

from support.cluster import Cluster
from support.daemon import Daemon, Database
from support.full_disk import NoMount, fill, small_disk
from support.events import CallMaker
from support.sender import Sender

pytestmark = pytest.mark.integration

WITHIN_S = 2.0


def all_taken(sender: Sender) -> None:
    assert set(sender.statuses()) == {200}, f"{sender}"
    assert sender.slowest_s() < WITHIN_S, f"{sender}"


def post_all(daemon: Daemon, events: list[dict], threads: int = 16) -> list[int]:
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return [r.status for r in pool.map(daemon.post_event, events)]


def errors(daemon: Daemon, kind: str) -> float:
    return sum(n for name, n in daemon.metrics().items() if name.startswith("outcomed_store_errors_total") and kind in name)


# ---- sessions that end ----

@pytest.mark.idempotency
def test_sessions_ended_by_the_administrator_again_and_again_are_replaced_unseen(start_daemon, cluster, cluster_database, measure, settle):
    daemon = start_daemon(database=cluster_database)
    sender = Sender(daemon.port, 80)
    cut = 0
    for _ in range(5):
        time.sleep(0.4)
        cut += cluster.cut_sessions(f"datname = '{cluster_database.url.rsplit('/', 1)[-1]}'")
    sender.finish()
    assert cut >= 5
    all_taken(sender)
    settle(cluster_database, sender, measure)


def test_a_session_that_was_idle_too_long_is_replaced_unseen(start_daemon, cluster_database):
    name = cluster_database.url.rsplit("/", 1)[-1]
    cluster_database.query(f'ALTER DATABASE "{name}" SET idle_session_timeout = 300')
    daemon = start_daemon(database=cluster_database)
    call = CallMaker()
    for event in call.unanswered()[:3]:
        time.sleep(0.7)
        assert daemon.post_event(event).status == 200
        assert daemon.outcome(call.sid, call.tenant).status == 200
    assert "store_down" not in daemon.log()


# ---- conflicts ----

TRIGGER = """
CREATE SEQUENCE faults;
CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF nextval('faults') <= {times} THEN RAISE EXCEPTION 'made up' USING ERRCODE = '{state}'; END IF; RETURN NEW; END $$;
CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fault()"""


def make_fault(database: Database, table: str, state: str, times: int) -> None:
    for sql in TRIGGER.format(table=table, state=state, times=times).split(";\nC"):
        database.query(sql if sql.lstrip().startswith("CREATE") else "C" + sql)


@pytest.mark.parametrize("state, table", [("40P01", "livekit_call_events"), ("40001", "call_logs")], ids=["deadlock", "serialization"])
def test_a_conflict_is_tried_again(start_daemon, cluster_database, state, table):
    daemon = start_daemon(database=cluster_database)
    make_fault(cluster_database, table, state, 2)
    call = CallMaker()
    began = time.monotonic()
    assert set(post_all(daemon, call.answered())) == {200}
    assert time.monotonic() - began < WITHIN_S
    assert daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"
    assert cluster_database.count("livekit_call_events") == 10
    assert errors(daemon, "conflict") >= 1


# ---- locks of the host's ----

@pytest.fixture
def hold(cluster_database):
    """hold(sql): a transaction of the host's that did this and stays open; close() it."""
    connections = []

    def begin(sql: str) -> psycopg.Connection:
        connection = psycopg.connect(cluster_database.url)
        connections.append(connection)
        connection.execute(sql)
        return connection

    yield begin
    for connection in connections:
        connection.close()


@pytest.mark.idempotency
def test_a_table_that_the_host_has_locked(start_daemon, cluster_database, hold, measure, settle):
    """As by ALTER TABLE or VACUUM FULL."""
    daemon = start_daemon(database=cluster_database)
    sender = Sender(daemon.port, 60)
    time.sleep(0.5)
    host = hold("LOCK TABLE call_logs IN ACCESS EXCLUSIVE MODE")
    time.sleep(1.5)
    host.close()
    sender.finish()
    all_taken(sender)
    settle(cluster_database, sender, measure)


# ---- a full disk ----

def refuses_then_takes(daemon: Daemon, database: Database, mend, wait_for) -> None:
    """While the server's disk is full, and afterwards."""
    call = CallMaker()
    events = call.answered()
    assert set(post_all(daemon, events[:5])) == {200}
    assert database.count("livekit_call_events") == 0
    time.sleep(1)
    assert daemon.log().count("store_down") <= 3, daemon.log()[-3000:]
    mend()
    wait_for("the events in the database", lambda: database.count("livekit_call_events") == 5)
    assert set(post_all(daemon, events[5:])) == {200}
    assert daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"


def test_its_disk_is_full_by_its_word(start_daemon, cluster_database, wait_for):
    daemon = start_daemon(database=cluster_database)
    make_fault(cluster_database, "livekit_call_events", "53100", 1_000_000)
    refuses_then_takes(daemon, cluster_database, lambda: cluster_database.query("DROP TRIGGER fault ON livekit_call_events"), wait_for)


def test_its_disk_is_full_in_truth(start_daemon, cluster, tmp_path, wait_for):
    """The tables lie on a file system that has no room left; the server's own files do not."""
    try:
        with small_disk(cluster.folder / "small", 24 * 1024) as folder:
            cluster.own(folder)
            cluster.run(f"CREATE TABLESPACE small LOCATION '{folder}'")
            name = cluster.create()
            try:
                cluster.run(f'ALTER DATABASE "{name}" SET TABLESPACE small')
                database = Database("postgres", cluster.url(name))
                daemon = start_daemon(database=database)
                big = [CallMaker().event("room_started", 0, note="x" * 60_000) for _ in range(60)]
                filler = fill(folder)
                assert set(post_all(daemon, big)) == {200}
                assert database.count("livekit_call_events") < 60
                filler.unlink()
                wait_for("the events in the database", lambda: database.count("livekit_call_events") == 60)
                daemon.stop()
            finally:
                cluster.drop(name)
                cluster.run("DROP TABLESPACE small")
    except NoMount as why:
        pytest.skip(f"no file system can be mounted here: {why}")


# ---- another password, no room for us, another schema ----

def test_a_password_that_was_changed_is_read_anew(start_daemon, cluster: Cluster, cluster_database, tmp_path, wait_for):
    name = cluster_database.url.rsplit("/", 1)[-1]
    role = "app_" + name[-12:]
    cluster.run(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'pw-Alpha'")
    cluster.run(f'ALTER DATABASE "{name}" OWNER TO "{role}"')
    cluster.run(f'ALTER SCHEMA public OWNER TO "{role}"', name)
    passfile = tmp_path / "pgpass"

    def write(password: str) -> None:
        passfile.write_text(f"127.0.0.1:{cluster.port}:*:{role}:{password}\n")
        passfile.chmod(0o600)

    write("pw-Alpha")
    url = f"postgresql://{role}@127.0.0.1:{cluster.port}/{name}?passfile={passfile}"
    daemon = start_daemon(database=Database("postgres", url))
    call = CallMaker()
    events = call.answered()
    assert daemon.post_event(events[0]).status == 200
    cluster.run(f"ALTER ROLE \"{role}\" PASSWORD 'pw-Omega'")
    assert daemon.post_event(events[1]).status == 200  # sessions go on
    cluster.cut_sessions(f"datname = '{name}'")
    assert daemon.post_event(events[2]).status == 200
    daemon.wait_log("password authentication failed")
    write("pw-Omega")
    wait_for("all three in the database", lambda: cluster_database.count("livekit_call_events") == 3)
    for event in events[3:]:
        assert daemon.post_event(event).status == 200
    wait_for("reads", lambda: daemon.outcome(call.sid, call.tenant).status == 200)
    assert daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"
    assert "pw-Alpha" not in daemon.log() and "pw-Omega" not in daemon.log()


def test_a_schema_that_a_newer_node_upgraded_is_not_written_to(start_daemon, cluster_database, wait_for):
    daemon = start_daemon(database=cluster_database)
    call = CallMaker()
    events = call.answered()
    assert daemon.post_event(events[0]).status == 200
    cluster_database.query("INSERT INTO outcomed_migrations (version, name, sha256, \"appliedAt\") VALUES (99, 'newer', 'x', now())")
    assert set(post_all(daemon, events[1:])) == {200}
    assert cluster_database.count("livekit_call_events") == 1, "an event was written into a schema that this version does not know"
    daemon.wait_log("install the newer outcomed")
    time.sleep(2)
    assert daemon.log().count("store_down") == 1
    assert daemon.process.poll() is None
    cluster_database.query("DELETE FROM outcomed_migrations WHERE version = 99")
    wait_for("the events in the database", lambda: cluster_database.count("livekit_call_events") == 10)
    assert daemon.wait_outcome(call.sid, call.tenant)["outcome"] == "completed"


# ---- the end while it hangs ----

def test_sigterm_while_the_server_is_frozen_ends_in_time(start_daemon, cluster, cluster_database):
    daemon = start_daemon(database=cluster_database)
    events = [CallMaker().event("room_started", 0) for _ in range(20)]
    assert set(post_all(daemon, events[:5])) == {200}
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda e=e: statuses.append(daemon.post_event(e).status)) for e in events[5:]]
    cluster.freeze()
    try:
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.process.wait(20) == 0
        took = time.monotonic() - began
    finally:
        cluster.thaw()
    for thread in threads:
        thread.join(10)
    assert took < 8, f"{took:.1f} s"
    assert set(statuses) == {200}


def test_reads_that_need_a_frozen_server_are_told_so(start_daemon, cluster, cluster_database):
    daemon = start_daemon(database=cluster_database)
    call = CallMaker()
    assert daemon.post_event(call.answered()[0]).status == 200
    assert daemon.outcome(call.sid, call.tenant).status == 200
    cluster.freeze()
    paths = (f"/api/calls/{call.sid}/outcome", f"/api/calls/{call.sid}", "/api/calls", f"/api/calls/{call.sid}/events")
    try:
        with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
            replies = list(pool.map(lambda path: daemon.get(f"{path}?user_id={call.tenant}"), paths))
        assert [r.status for r in replies] == [503] * len(paths)
        assert daemon.get("/livez").status == 200
    finally:
        cluster.thaw()


def test_frozen_when_it_starts(start_daemon, cluster, cluster_database, wait_for):
    first = start_daemon(database=cluster_database)
    first.stop()
    cluster.freeze()
    try:
        daemon = start_daemon(database=cluster_database, wait_ready=False)
        events = CallMaker().answered()
        assert set(post_all(daemon, events[:5])) == {200}
    finally:
        cluster.thaw()
    assert set(post_all(daemon, events[5:])) == {200}
    wait_for("the events in the database", lambda: cluster_database.count("livekit_call_events") == 10)
