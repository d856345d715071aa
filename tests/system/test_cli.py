"""The command line: subcommands, exit codes, messages that say what to do, and that help and documents say what the program does."""

import http.server
import json
import os
import pathlib
import pty
import re
import select
import socket
import subprocess
import threading
import time

import pytest

from support import captures as capture_files
from support import daemon as daemons
from support import signing

pytestmark = pytest.mark.integration

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ANSWERED = capture_files.FOLDER / "out-answered-bye.jsonl"
BUSY = capture_files.FOLDER / "out-486.jsonl"
SECRET = "a-signing-secret-of-more-than-32-bytes"
SUBCOMMANDS = ("serve", "migrate", "check", "verify", "send", "token", "replay", "explain", "prune", "erase", "spool")


@pytest.fixture
def run(outcomed_binary: pathlib.Path, tmp_path: pathlib.Path):
    """run(*words, env={}, input=b'') runs outcomed to its end and holds it to: no sanitizer's report."""

    def run_it(*words, env: dict | None = None, input: bytes = b"", timeout: float = 60) -> subprocess.CompletedProcess:
        done = subprocess.run([outcomed_binary, *words], env=daemons.environment(env), cwd=tmp_path, input=input, capture_output=True,
                              timeout=timeout, check=False)
        assert not daemons.SANITIZER_REPORT.search(done.stderr.decode(errors="replace")), done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run_it


def complaint(done: subprocess.CompletedProcess) -> str:
    """The one line on stderr that is no log line."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("ts=")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("outcomed"), lines
    return lines[0]


def on_terminal(command: list, answer: bytes, env: dict, cwd: pathlib.Path, question: bytes | None) -> tuple[int, str]:
    """Runs a command on a terminal of its own; types `answer` when `question` has been asked."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execve(command[0], [str(word) for word in command], env)
    shown = b""
    deadline = time.monotonic() + 60
    typed = question is None
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                try:
                    chunk = os.read(terminal, 65536)
                except OSError:  # the other end is closed
                    break
                if not chunk:
                    break
                shown += chunk
            if not typed and question in shown:
                os.write(terminal, answer)
                typed = True
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()
    finally:
        os.close(terminal)


# ---- help, version, documents ----

def test_version_and_help_name_every_subcommand(run):
    assert re.fullmatch(r"outcomed \d+\.\d+\.\d+\n", run("--version").stdout)
    usage = run("--help")
    assert usage.returncode == 0
    assert run("help").stdout == usage.stdout
    for name in SUBCOMMANDS:
        assert re.search(rf"^  {name} ", usage.stdout, re.MULTILINE)


def test_no_subcommand_is_a_mistake_that_shows_the_usage(run):
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: outcomed" in done.stderr


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_help_of_a_subcommand_has_its_options_and_exit_codes(run, name):
    shown = run(name, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert run("help", name).stdout == shown.stdout
    assert shown.stdout.startswith(f"Usage: outcomed {name} ")
    assert "Exit codes: 0 " in shown.stdout
    for row in run("docs", "configuration").stdout.splitlines()[2:]:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        used_by = cells[4].split(", ")
        for option in re.findall(r"`([^`]+)`", cells[0] + cells[1]):
            assert (option in shown.stdout) == (name in used_by or used_by == ["all"]), option


@pytest.mark.parametrize("words", [("srve",), ("serve", "--lisen", "x"), ("serve", "word"), ("help", "nothing"), ("verify",), ("send",),
                                   ("migrate",), ("migrate", "sideways"), ("token",), ("docs", "nothing"), ("serve", "--api-secret=x")])
def test_wrong_usage_exits_with_2_and_one_line(run, words):
    done = run(*words)
    assert done.returncode == 2
    complaint(done)


@pytest.mark.parametrize("part", ["configuration", "metrics"])
def test_generated_parts_of_the_documents_are_up_to_date(run, part):
    """`make docs` writes them anew. (The tables of VERDICTS.md are held by tests/unit/test_verdict_out.c.)"""
    page = (ROOT / "docs/CONFIGURATION.md").read_text()
    generated = re.search(rf"^<!-- generated: {part} -->\n(.*?)^<!-- end: {part} -->$", page, re.MULTILINE | re.DOTALL)[1]
    assert generated == run("docs", part).stdout


def test_manual_page_is_up_to_date(run):
    assert (ROOT / "packaging/outcomed.1").read_text() == run("docs", "manual").stdout


# ---- serve refuses to start ----

REFUSALS = {
    "no key": ({"LIVEKIT_API_KEY": None, "LIVEKIT_API_SECRET": None}, [], "LIVEKIT_API_KEY"),
    "half a key": ({"LIVEKIT_API_SECRET": None}, [], "LIVEKIT_API_SECRET is not set"),
    "malformed keys": ({"LIVEKIT_KEYS": "nonsense"}, [], "LIVEKIT_KEYS"),
    "bad size": ({}, ["--max-body", "8MB"], "8MiB"),
    "bad number": ({"OUTCOMED_IDLE_TIMEOUT": "soon"}, [], "OUTCOMED_IDLE_TIMEOUT=soon"),
    "bad switch": ({"OUTCOMED_ACCEPT_HMAC": "perhaps"}, [], "expected 0 or 1"),
    "bad address": ({}, ["--listen", "127.0.0.1"], "ADDR:PORT"),
    "address not here": ({}, ["--listen", "192.0.2.1:5000", "--log-level=error"], "192.0.2.1"),
    "public address": ({}, ["--listen", "0.0.0.0:0"], "OUTCOMED_SERVICE_TOKEN"),
    "short tenant secret": ({"OUTCOMED_TENANT_SECRET": "short"}, [], "32 bytes"),
    "not a database": ({"DATABASE_URL": "mysql://host/db"}, [], "postgresql://"),
    "no such directory": ({"DATABASE_URL": "sqlite:nowhere/outcomed.db"}, [], "nowhere"),
    "unwritable directory": ({"DATABASE_URL": "sqlite:/proc/outcomed.db"}, [], "/proc"),
    "routes missing": ({}, ["--routes", "nowhere.json"], "nowhere.json"),
    "overrides missing": ({}, ["--overrides", "nowhere.json"], "nowhere.json"),
    "secret file missing": ({"LIVEKIT_API_SECRET": None, "LIVEKIT_API_SECRET_FILE": "nowhere"}, [], "nowhere"),
    "too many connections": ({}, ["--max-connections", "100001"], "expected a whole number"),
}


@pytest.mark.parametrize("env, words, says", REFUSALS.values(), ids=REFUSALS.keys())
def test_serve_refuses_to_start_with_one_line(run, env, words, says):
    if "192.0.2.1:5000" in words:
        env = env | {"OUTCOMED_SERVICE_TOKEN": "a-token-that-makes-it-willing"}
    done = run("serve", *words, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in complaint(done)


def test_serve_refuses_a_port_in_use(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--listen", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in complaint(done)


def test_serve_refuses_a_secret_file_that_others_can_read(run, tmp_path):
    secret = tmp_path / "api secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o644)
    done = run("serve", env={"LIVEKIT_API_SECRET": None, "LIVEKIT_API_SECRET_FILE": str(secret)})
    assert done.returncode == 2
    assert f"chmod 600 '{secret}'" in complaint(done)
    assert SECRET not in done.stderr


def test_serve_refuses_a_database_that_is_no_database(run, tmp_path):
    (tmp_path / "outcomed.db").write_bytes(b"this is a text of more than a hundred bytes, which no SQLite would ever take for one of its own." * 3)
    done = run("serve")
    assert done.returncode == 2
    complaint(done)


MISWRITTEN = {
    "percent": "postgresql://u:Geh%zzeim@127.0.0.1:1/db",
    "at": "postgresql://u:Geh@eim@127.0.0.1:1/db",
    "slash": "postgresql://u:Geh/eim@127.0.0.1:1/db",
    "slash after digits": "postgresql://u:1/Geheim@127.0.0.1:1/db",
    "text after brackets": "postgresql://u:Geheim@[::1]x/db",
    "open bracket": "postgresql://u:Geheim@[::1/db",
    "parameter": "postgresql://u@127.0.0.1:1/db?password=Ge=heim",
    "unknown parameter": "postgresql://u:Geheim@127.0.0.1:1/db?foo=bar",
    "sslmode": "postgresql://u:Geheim@127.0.0.1:1/db?sslmode=perhaps",
    "no slashes": "postgres:u:Geheim@127.0.0.1:1/db",
    "keywords": "host=127.0.0.1 port=1 user=u password=Geheim",
}


@pytest.mark.parametrize("url", MISWRITTEN.values(), ids=MISWRITTEN.keys())
def test_a_miswritten_database_url_is_refused_without_its_password(run, url):
    for words in (["serve", "--listen", "127.0.0.1:0"], ["migrate", "status"], ["migrate", "upgrade"], ["check"]):
        done = run(*words, env={"DATABASE_URL": url})
        assert done.returncode == (1 if words == ["check"] else 2), words
        for piece in ("Geh", "eim", "Ge=heim"):
            assert piece not in done.stdout + done.stderr, words
    complaint(run("serve", env={"DATABASE_URL": url}))


def test_serve_asks_for_the_migration_of_postgres(run, postgres_url):
    done = run("serve", "--database", postgres_url, "--listen", "127.0.0.1:0")
    assert done.returncode == 2
    assert "outcomed migrate upgrade" in complaint(done)


def test_a_refused_configuration_leaves_nothing_behind(run, tmp_path):
    run("serve", "--listen", "0.0.0.0:0")
    run("serve", "--max-body", "1")
    assert list(tmp_path.iterdir()) == []


def test_secrets_come_from_files_that_only_the_owner_can_read(start_daemon, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(f"{signing.SECRET}\n")
    secret.chmod(0o600)
    daemon = start_daemon(env={"LIVEKIT_API_SECRET": None, "LIVEKIT_API_SECRET_FILE": str(secret)})
    assert daemon.post_event({"event": "room_started", "id": "EV_1", "createdAt": 1795352846, "room": {"sid": "RM_1", "name": "r"}}).status == 200


def test_serve_says_what_it_serves_and_no_secret(start_daemon):
    daemon = start_daemon(env={"LIVEKIT_API_SECRET": SECRET, "OUTCOMED_SERVICE_TOKEN": "service-token-of-this-test",
                               "OUTCOMED_TENANT_SECRET": "tenant-secret-of-this-test-long-enough"})
    line = next(row for row in daemon.log().splitlines() if "call_outcomes" in row)
    assert "registered" in line and f"address=127.0.0.1:{daemon.port}" in line
    daemon.post(b"{}", signing.sign(b"{}", secret="wrong"))
    daemon.stop()
    for secret in (SECRET, "service-token-of-this-test", "tenant-secret-of-this-test-long-enough"):
        assert secret not in daemon.log()


# ---- migrate ----

def test_migrate_walks_up_and_down(run, database):
    def migrate(*words):
        return run("migrate", *words, env={"DATABASE_URL": database.url})

    assert migrate("status").returncode == 3
    first = migrate("upgrade")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0].startswith("backup first: " + ("pg_dump " if database.kind == "postgres" else "sqlite3 "))
    status = migrate("status")
    assert status.returncode == 0
    assert re.search(r"^state +up to date$", status.stdout, re.MULTILINE)
    assert migrate("upgrade").returncode == 0
    unasked = migrate("downgrade")
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    assert migrate("status").returncode == 0
    assert migrate("downgrade", "--yes").returncode == 0
    assert migrate("downgrade", "--yes").returncode == 0
    assert migrate("status").returncode == 3


def test_migrate_shows_no_password(run, postgres_server):
    url = postgres_server.url("nowhere")
    secret = re.sub(r"^(postgres(?:ql)?://)([^@/]*@)?", r"\1somebody:hush-hush@", url)
    for what in ("upgrade", "status"):
        done = run("migrate", what, env={"DATABASE_URL": secret})
        assert done.returncode in (1, 2), done.stderr
        complaint(done)
        assert "hush-hush" not in done.stdout + done.stderr


@pytest.mark.parametrize("answer, code", [(b"n\n", 1), (b"\n", 1), (b"y\n", 0)])
def test_migrate_asks_on_a_terminal(outcomed_binary, tmp_path, run, answer, code):
    command = [outcomed_binary, "migrate", "upgrade", "--database", "sqlite:asked.db"]
    done, shown = on_terminal(command, answer, daemons.environment(), tmp_path, b"[y/N]")
    assert done == code, shown
    assert "backup first: " in shown
    assert run("migrate", "status", "--database", "sqlite:asked.db").returncode == (0 if code == 0 else 3)


def test_migrate_does_not_ask_when_told_yes(outcomed_binary, tmp_path):
    command = [outcomed_binary, "migrate", "upgrade", "--yes", "--database", "sqlite:asked.db"]
    done, shown = on_terminal(command, b"", daemons.environment(), tmp_path, None)
    assert (done, "[y/N]" in shown) == (0, False), shown


# ---- check ----

CHECK_ENV = {"LIVEKIT_API_KEY": "APIcheck", "LIVEKIT_API_SECRET": SECRET, "OUTCOMED_SERVICE_TOKEN": "service-token-of-32-bytes-or-more",
             "OUTCOMED_TENANT_SECRET": "tenant-secret-of-32-bytes-or-more"}


def states(done: subprocess.CompletedProcess) -> dict[str, set[str]]:
    """{item: states} of the lines of a check."""
    found: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        if row := re.match(r"(ok  |skip|FAIL)  (.{20})  ", line):
            found.setdefault(row[2].strip(), set()).add(row[1].strip())
    return found


def test_check_finds_nothing_short_with_a_daemon(run, start_daemon, database):
    daemon = start_daemon(database=database, env=CHECK_ENV)
    env = CHECK_ENV | {"DATABASE_URL": database.url, "OUTCOMED_LISTEN": f"127.0.0.1:{daemon.port}", "OUTCOMED_SPOOL": str(daemon.folder / "outcomed.spool")}
    first = run("check", env=env)
    assert first.returncode == 0, first.stdout + daemon.log()
    found = states(first)
    assert {item for item, s in found.items() if "skip" in s} == {"routes", "overrides", "LiveKit API"} | ({"integrity"} if database.kind == "postgres" else set())
    assert {"signing keys", "database", "schema version", "tables", "columns", "indexes", "call_logs rows", "forged event", "test event", "outcome",
            "other tenant", "wrong token", "service token", "tenant token", "spool"} <= found.keys()
    again = run("check", env=env)
    assert again.stdout == first.stdout
    assert database.count("livekit_call_events") == 2
    assert database.query('SELECT "userId" FROM call_logs') == [("outcomed-check",)]


def test_check_without_daemon_skips_what_needs_one(run, new_database):
    database = new_database("sqlite")
    run("migrate", "upgrade", "--database", database.url)
    done = run("check", env=CHECK_ENV | {"DATABASE_URL": database.url, "OUTCOMED_LISTEN": "127.0.0.1:1"})
    assert done.returncode == 0, done.stdout
    assert states(done)["daemon"] == {"skip"}
    assert "start outcomed serve" in done.stdout


def test_check_names_what_falls_short(run, start_daemon, new_database):
    database = new_database("sqlite")
    daemon = start_daemon(database=database, env=CHECK_ENV)
    database.query("DROP INDEX idx_lce_room")
    env = CHECK_ENV | {"DATABASE_URL": database.url, "OUTCOMED_LISTEN": f"127.0.0.1:{daemon.port}", "LIVEKIT_API_SECRET": "another",
                       "OUTCOMED_SERVICE_TOKEN": "another-service-token-than-the-daemon"}
    done = run("check", env=env)
    assert done.returncode == 1
    found = states(done)
    assert found["indexes"] == found["test event"] == {"FAIL"}
    assert "idx_lce_room" in done.stdout and "other keys" in done.stdout


@pytest.mark.parametrize("listen, state", [("127.0.0.1:1", "ok"), ("0.0.0.0:1", "FAIL")])
def test_check_minds_a_weak_secret_where_others_can_reach_it(run, listen, state):
    for env in ({"LIVEKIT_API_KEY": "devkey", "LIVEKIT_API_SECRET": "secret"}, {"LIVEKIT_API_SECRET": "short"}):
        done = run("check", env=CHECK_ENV | env | {"OUTCOMED_LISTEN": listen})
        assert states(done)["signing keys"] == {state}
        assert "demo pair" in done.stdout or "fewer than the 32" in done.stdout


def test_check_sees_that_something_else_answers(run, tmp_path, receiver):
    done = run("check", env=CHECK_ENV | {"OUTCOMED_LISTEN": f"127.0.0.1:{receiver.server_port}"})
    assert states(done)["daemon"] == {"FAIL"}


def test_check_of_a_missing_database_says_so(run):
    done = run("check", env=CHECK_ENV | {"DATABASE_URL": "sqlite:nowhere/x.db", "OUTCOMED_LISTEN": "127.0.0.1:1"})
    assert done.returncode == 1
    assert states(done)["database"] == {"FAIL"}


# ---- verify ----

def recorded(body: bytes, headers: dict[str, str]) -> bytes:
    return json.dumps({"headers": headers, "body": body.decode()}).encode()


def test_verify_takes_a_genuine_recording_as_of_its_signing(run):
    for line in range(2, 12):
        done = run("verify", "--at-signing-time", "--line", str(line), str(ANSWERED))
        assert done.returncode == 0, done.stdout
        assert "verified: signed by devkey" in done.stdout


def test_verify_now_says_expired_and_what_to_do(run):
    done = run("verify", str(ANSWERED), "--now", "2027-01-01T00:00:00Z")
    assert done.returncode == 1
    assert re.search(r"^FAIL  expired .*\n +the token is expired: compare the clocks", done.stdout, re.MULTILINE)
    assert run("verify", str(ANSWERED), "--now=2026-11-22T13:07:30Z").returncode == 0
    assert run("verify", str(ANSWERED), "--now", "1795352850").returncode == 0


BODY = b'{"event":"room_started","id":"EV_1"}'
FORGERIES = {  # made when they are asked for: a token does not live as long as a run of all tests
    "secret_mismatch": lambda: recorded(BODY, signing.sign(BODY, secret="another")),
    "unknown_key": lambda: recorded(BODY, signing.sign(BODY, key="APIother")),
    "body_altered": lambda: recorded(BODY + b" ", signing.sign(BODY)),
    "no_signature": lambda: recorded(BODY, {"Host": "x"}),
    "wrong_header": lambda: recorded(BODY, {"X-LiveKit-Signature": "00" * 32}),
    "malformed_token": lambda: recorded(BODY, {"authorization": "nonsense"}),
}


@pytest.mark.parametrize("check", FORGERIES)
def test_verify_names_the_check_that_refuses(run, check):
    done = run("verify", "-", input=FORGERIES[check]())
    assert done.returncode == 1
    assert f"FAIL  {check}" in done.stdout
    assert f"refused: {check}" in done.stdout


def test_verify_reads_a_raw_http_request(run, tmp_path):
    head = "".join(f"{name}: {value}\r\n" for name, value in signing.sign(BODY).items())
    request = f"POST /api/webhooks/call_completed HTTP/1.1\r\nHost: h\r\nContent-Length: {len(BODY)}\r\n{head}\r\n".encode() + BODY
    assert run("verify", "-", input=request).returncode == 0
    noted = run("verify", "-", input=request + b"\n")
    assert noted.returncode == 0
    assert "left out" in noted.stdout
    assert run("verify", "-", input=request.replace(b"\r\n", b"\n")).returncode == 0
    cut = run("verify", "-", input=request[:-1])
    assert cut.returncode == 2
    assert "cut off" in complaint(cut)


@pytest.mark.parametrize("text", [b"", b"\n", b"GET / HTTP/1.1\r\n", b'{"scenario":{}}', b'{"event":"room_started"}', b'{"headers":[],"body":"x"}',
                                  b'{"headers":{},"body":3}', b"{", b"POST / HTTP/1.1\r\nno header\r\n\r\n"])
def test_verify_of_no_request_is_wrong_usage(run, text):
    done = run("verify", "-", input=text)
    assert done.returncode == 2
    complaint(done)


# ---- send ----

@pytest.fixture
def receiver():
    """A receiver that keeps what it gets: .taken is a list of (headers, body, connection), .codes the answers to give first."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.taken.append((dict(self.headers.items()), body, self.client_address))
            self.send_response(server.codes.pop(0) if server.codes else 200)
            self.send_header("Content-Length", "0")
            self.send_header("Retry-After", "0")
            self.end_headers()

        def do_GET(self):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.taken, server.codes = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url_of(server) -> str:
    return f"http://127.0.0.1:{server.server_port}/api/webhooks/call_completed"


def counts(done: subprocess.CompletedProcess) -> dict[str, int]:
    last = done.stdout.splitlines()[-1]
    return {name: int(n) for n, name in re.findall(r"(\d+) (\w+)", last)}


def test_send_keeps_order_bytes_and_connection(run, receiver):
    done = run("send", "--url", url_of(receiver), str(ANSWERED))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    capture = capture_files.read(ANSWERED)
    assert [body for _, body, _ in receiver.taken] == [d.body for d in capture.deliveries]
    assert len({address for _, _, address in receiver.taken}) == 1
    for headers, body, _ in receiver.taken:
        assert set(headers) == {"Host", "User-Agent", "Content-Length", "Authorization", "Content-Type", "Accept-Encoding"}
        assert (headers["User-Agent"], headers["Content-Type"], headers["Accept-Encoding"]) == ("LiveKit", "application/webhook+json", "gzip")


def test_send_counts_what_became_of_each(run, start_daemon):
    daemon = start_daemon()
    url = f"http://127.0.0.1:{daemon.port}/api/webhooks/call_completed"
    done = run("send", "--url", url, "--repeat", "2", str(ANSWERED))
    assert done.returncode == 0, done.stderr
    assert counts(done) == {"sent": 20, "processed": 10, "duplicate": 10, "ignored": 0, "quarantined": 0, "refused": 0, "failed": 0}
    assert daemon.wait_outcome("RM_h9Q44tYGqmEg", "user-9")["outcome"] == "completed"


@pytest.mark.parametrize("text, sent", [
    (b'{"event":"room_started","id":"EV_1","room":{"sid":"RM_1","name":"r"}}', 1),
    (b'{\n "event": "room_started",\n "id": "EV_1"\n}\n', 1),
    (b'{"event":"a","id":"1"}\n\n{"event":"b","id":"2"}\r\n{"event":"c","id":"3"}', 3),
    (b'{"scenario":{}}\n{"body":"{}"}\n{"headers":{},"body":"[]"}\n', 2),
])
def test_send_reads_every_form_of_file(run, receiver, tmp_path, text, sent):
    (tmp_path / "file").write_bytes(text)
    done = run("send", "--url", url_of(receiver), "file")
    assert done.returncode == 0, done.stderr
    assert counts(done)["sent"] == len(receiver.taken) == sent


def test_send_raw_posts_any_bytes_as_they_are(run, receiver, tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\x00 no JSON\n")
    assert run("send", "--url", url_of(receiver), "bytes").returncode == 2
    assert run("send", "--url", url_of(receiver), "--raw", "bytes").returncode == 0
    assert receiver.taken[0][1] == b"\xff\x00 no JSON\n"


def test_send_shuffles_the_same_way_for_the_same_seed(run, receiver):
    orders = []
    for seed in ("7", "7", "8"):
        done = run("send", "--url", url_of(receiver), "--shuffle", "--seed", seed, str(ANSWERED), str(BUSY))
        assert f"--seed {seed}" in done.stdout
        orders.append([body for _, body, _ in receiver.taken])
        receiver.taken.clear()
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(d.body for path in (ANSWERED, BUSY) for d in capture_files.read(path).deliveries)


def test_send_uses_as_many_connections_as_told(run, receiver):
    done = run("send", "--url", url_of(receiver), "--concurrency", "4", "--repeat", "20", str(ANSWERED))
    assert (done.returncode, len(receiver.taken)) == (0, 200)
    assert 1 <= len({address for _, _, address in receiver.taken}) <= 4


def test_send_says_what_was_refused_and_what_failed(run, receiver):
    receiver.codes = [401, 503, 200]
    done = run("send", "--url", url_of(receiver), str(ANSWERED))
    assert done.returncode == 1
    assert (counts(done)["refused"], counts(done)["failed"], counts(done)["processed"]) == (1, 1, 8)
    assert "line 2: answered 401" in done.stderr and "line 3: answered 503" in done.stderr


def test_send_retries_like_livekit_only_when_told(run, receiver):
    receiver.codes = [503, 429, 200, 401, 501]
    done = run("send", "--retry", "--url", url_of(receiver), str(ANSWERED))
    assert (counts(done)["refused"], counts(done)["failed"], counts(done)["processed"]) == (1, 1, 8)
    first = [body for _, body, _ in receiver.taken[:3]]
    assert first[0] == first[1] == first[2]
    assert len(receiver.taken) == 12


def test_send_to_nobody_fails(run):
    done = run("send", "--url", "http://127.0.0.1:1/x", str(ANSWERED))
    assert done.returncode == 1
    assert counts(done)["failed"] == 10


def test_send_draws_a_bar_on_a_terminal_only(outcomed_binary, receiver, tmp_path):
    command = [outcomed_binary, "send", "--url", url_of(receiver), ANSWERED]
    code, shown = on_terminal(command, b"", daemons.environment(), tmp_path, None)
    assert code == 0, shown
    assert "[########################################] 10/10" in shown


def test_send_signs_with_the_webhook_secret_or_the_first_of_the_keys(run, start_daemon, tmp_path):
    (tmp_path / "event").write_bytes(BODY)
    for env in ({"LIVEKIT_WEBHOOK_SECRET": SECRET}, {"LIVEKIT_KEYS": f"APIa: {SECRET}\nAPIb: other"}):
        env |= {"LIVEKIT_API_KEY": None, "LIVEKIT_API_SECRET": None}
        daemon = start_daemon(env=env)
        done = run("send", "--url", f"http://127.0.0.1:{daemon.port}/api/webhooks/call_completed", "event", env=env)
        assert done.returncode == 0, done.stderr


# ---- token ----

def test_token_opens_its_own_tenant_and_no_other(run, start_daemon):
    env = {"OUTCOMED_TENANT_SECRET": "tenant-secret-of-32-bytes-or-more"}
    daemon = start_daemon(env=env)
    run("send", "--url", f"http://127.0.0.1:{daemon.port}/api/webhooks/call_completed", str(ANSWERED))
    for tenant, status in (("user-9", 200), ("user-8", 404)):
        token = run("token", "--tenant", tenant, "--ttl", "5m", env=env).stdout.strip()
        assert daemon.get("/api/calls/RM_h9Q44tYGqmEg/outcome", {"Authorization": f"Bearer {token}"}).status == status


@pytest.mark.parametrize("ttl", ["0", "-1", "1w", "h", "", "99999999999d", "1.5h"])
def test_token_refuses_a_wrong_ttl(run, ttl):
    done = run("token", "--tenant", "a", f"--ttl={ttl}", env={"OUTCOMED_TENANT_SECRET": "x" * 32})
    assert done.returncode == 2
    complaint(done)


def test_token_without_secret_names_the_variable(run):
    assert "OUTCOMED_TENANT_SECRET" in complaint(run("token", "--tenant", "a"))
