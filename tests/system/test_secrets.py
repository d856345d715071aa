"""Secrets: where they may come from, that they are rotated without anybody noticing, and that nobody who looks on sees them."""

import json
import os
import pathlib
import re
import subprocess
import urllib.parse

import pytest

from support import signing
from support.daemon import Daemon, environment
from support.events import CallMaker

pytestmark = [pytest.mark.integration, pytest.mark.multitenant]

LIVEKIT = "livekit-api-secret-canary-0123456789abcdef"
SERVICE, NEXT_SERVICE = "service-canary-0123456789abcdef", "next-service-canary-0123456789"
TENANT, NEXT_TENANT = "tenant-canary-0123456789abcdef0123456789", "next-tenant-canary-0123456789abcdef012345"
SECRETS = {
    "LIVEKIT_API_SECRET": LIVEKIT,
    "LIVEKIT_WEBHOOK_SECRET": "webhook-secret-canary-0123456789abcdef",
    "LIVEKIT_KEYS": "other-key: keys-secret-canary-0123456789abcdef",
    "OUTCOMED_SERVICE_TOKEN": f"{SERVICE}\n{NEXT_SERVICE}",
    "OUTCOMED_TENANT_SECRET": f"{TENANT}\n{NEXT_TENANT}",
    "PGPASSWORD": "pgpassword-canary",
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": "Bearer " + token}


def of_acme(secret: str, **claims) -> dict[str, str]:
    return bearer(signing.jwt({"sub": "acme", "exp": 4102444800} | claims, secret))


def run(binary, *words: str, env: dict[str, str] | None = None, text: str = "") -> subprocess.CompletedProcess:
    done = subprocess.run([binary, *words], env=environment(env), input=text, capture_output=True, text=True, timeout=120, check=False)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done


def seen_of(daemon: Daemon, name: str) -> bytes:
    """A file of /proc/PID as others may read it; empty where they may not."""
    try:
        return pathlib.Path(f"/proc/{daemon.process.pid}/{name}").read_bytes()
    except PermissionError:
        return b""


def send_call(daemon: Daemon, call: CallMaker, secret: str = signing.SECRET) -> None:
    for event in call.answered():
        body = json.dumps(event).encode()
        assert daemon.post(body, signing.sign(body, secret=secret)).status == 200


def test_whoever_looks_on_sees_no_secret(start_daemon, database, outcomed_binary):
    """Environment, command line, log, every page, errors, and what `check` and a failing command print."""
    canaries = {canary for value in SECRETS.values() for canary in re.findall(r"\S*canary\S*", value)}
    password = urllib.parse.urlsplit(database.url).password
    canaries |= {password} if password else set()
    daemon = start_daemon(database=database, env=SECRETS)
    call = CallMaker("acme")
    send_call(daemon, call, LIVEKIT)
    good = [bearer(SERVICE), bearer(NEXT_SERVICE), of_acme(TENANT), of_acme(NEXT_TENANT)]
    assert [daemon.get(f"/api/calls/{call.sid}/outcome?user_id=acme", h).status for h in good] == [200] * 4
    said = [daemon.get(path, h).body for path in ("/", "/metrics", "/readyz", "/api/calls?user_id=acme", f"/api/calls/{call.sid}?user_id=acme")
            for h in (*good, bearer(SERVICE + "x"), bearer(TENANT), of_acme("x" * 40), {})]
    said.append(daemon.post(b"{}", signing.sign(b"{}", secret=SERVICE)).body)
    names, command, limits = (seen_of(daemon, name) for name in ("environ", "cmdline", "limits"))
    assert b"LIVEKIT_API_KEY=" in names or not names
    assert re.search(rb"Max core file size +0 +0 ", limits) or not limits
    checked = run(outcomed_binary, "check", "--listen", f"127.0.0.1:{daemon.port}", "--database", database.url, env=SECRETS)
    wrong = run(outcomed_binary, "serve", "--database", database.url, "--listen", "192.0.2.1:1", env=SECRETS)
    assert checked.returncode == 0 and wrong.returncode != 0, checked.stdout
    assert daemon.stop() == 0
    said += [names, command, daemon.log().encode(), (checked.stdout + checked.stderr + wrong.stdout + wrong.stderr).encode()]
    assert [(canary, text[:200]) for canary in canaries for text in said if canary.encode() in text] == []


def test_secrets_come_as_credentials_of_the_service_manager(start_daemon, tmp_path):
    """By their own names, and by the name that a _FILE setting gives; readable for a group, as access lists look."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name, value in (("LIVEKIT_API_SECRET", LIVEKIT), ("tokens", f"{SERVICE}\n"), ("secrets", TENANT)):
        (folder / name).write_text(value)
        (folder / name).chmod(0o440)
    daemon = start_daemon(env={"CREDENTIALS_DIRECTORY": str(folder), "LIVEKIT_API_SECRET": None, "OUTCOMED_SERVICE_TOKEN_FILE": "tokens",
                               "OUTCOMED_TENANT_SECRET_FILE": str(folder / "secrets")})
    call = CallMaker("acme")
    send_call(daemon, call, LIVEKIT)
    for header in (bearer(SERVICE), of_acme(TENANT)):
        assert daemon.get(f"/api/calls/{call.sid}/outcome?user_id=acme", header).status == 200


def test_a_hash_stands_for_a_service_token(start_daemon, outcomed_binary, tmp_path):
    line = run(outcomed_binary, "token", "--hash", text=SERVICE + "\n").stdout
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", line)
    path = tmp_path / "tokens"
    path.write_text(line + NEXT_SERVICE + "\n")
    path.chmod(0o600)
    daemon = start_daemon(env={"OUTCOMED_SERVICE_TOKEN_FILE": str(path)})
    for token, status in ((SERVICE, 200), (NEXT_SERVICE, 200), (line.strip(), 401), (line.strip()[7:], 401), (SERVICE[:-1], 401)):
        assert daemon.get("/api/calls?user_id=acme", bearer(token)).status == status
    for text in ("", "short\n", "two words of more than sixteen\n"):
        refused = run(outcomed_binary, "token", "--hash", text=text)
        assert refused.returncode == 2 and "openssl rand" in refused.stderr and not refused.stdout


def test_secrets_are_rotated_one_after_the_other(start_daemon, database):
    """The new one is added, everybody changes over, the old one is taken away: nobody is refused in between."""
    call = CallMaker("acme")
    for services, tenants, good, bad in (
            ((SERVICE,), (TENANT,), (bearer(SERVICE), of_acme(TENANT)), (bearer(NEXT_SERVICE), of_acme(NEXT_TENANT))),
            ((NEXT_SERVICE, SERVICE), (NEXT_TENANT, TENANT),
             (bearer(SERVICE), of_acme(TENANT), bearer(NEXT_SERVICE), of_acme(NEXT_TENANT)), (of_acme("x" * 40),)),
            ((NEXT_SERVICE,), (NEXT_TENANT,), (bearer(NEXT_SERVICE), of_acme(NEXT_TENANT)), (bearer(SERVICE), of_acme(TENANT)))):
        daemon = start_daemon(database=database, env={"OUTCOMED_SERVICE_TOKEN": "\n".join(services), "OUTCOMED_TENANT_SECRET": "\n".join(tenants)})
        if daemon.get(f"/api/calls/{call.sid}?user_id=acme", good[0]).status == 404:
            send_call(daemon, call)
        assert [daemon.get(f"/api/calls/{call.sid}?user_id=acme", h).status for h in (*good, *bad)] == [200] * len(good) + [401] * len(bad)
        assert daemon.stop() == 0


def test_tokens_are_for_us_and_from_whom_they_should_be(start_daemon, outcomed_binary):
    env = {"OUTCOMED_TENANT_SECRET": f"{TENANT}\n{NEXT_TENANT}", "OUTCOMED_TENANT_AUDIENCE": "outcomed", "OUTCOMED_TENANT_ISSUER": "https://login.example"}
    daemon = start_daemon(env=env)
    right = {"aud": ["crm", "outcomed"], "iss": "https://login.example"}
    for claims, status in ((right, 200), (right | {"aud": "outcomed"}, 200), (right | {"aud": "crm"}, 401), (right | {"iss": "outcomed"}, 401), ({}, 401)):
        assert daemon.get("/api/calls", of_acme(TENANT, **claims)).status == status
    made = run(outcomed_binary, "token", "--tenant", "acme", env=env).stdout.strip()
    assert daemon.get("/api/calls", bearer(made)).status == 200
    counted = {name: n for name, n in daemon.metrics().items() if name.startswith("outcomed_access_refusals_total") and n}
    assert counted == {'outcomed_access_refusals_total{cause="wrong_audience"}': 1, 'outcomed_access_refusals_total{cause="wrong_issuer"}': 2}
    assert "cause=wrong_audience" in daemon.log() and "address=127.0.0.1" in daemon.log()


def test_who_tries_too_often_is_told_to_wait_and_shuts_out_nobody(start_daemon):
    daemon = start_daemon(env={"OUTCOMED_SERVICE_TOKEN": SERVICE, "OUTCOMED_TENANT_SECRET": TENANT})
    replies = [daemon.get("/api/calls?user_id=acme", bearer(f"guess-{n}")) for n in range(40)]
    statuses = [r.status for r in replies]
    assert set(statuses) == {401, 429} and statuses[:20] == [401] * 20
    last = next(r for r in replies if r.status == 429)
    assert last.headers["retry-after"] == "7" and last.headers["connection"] == "close"
    assert daemon.metrics()['outcomed_access_refusals_total{cause="too_many_attempts"}'] == statuses.count(429)
    for header in (bearer(SERVICE), of_acme(TENANT)):
        assert daemon.get("/api/calls?user_id=acme", header).status == 200
    assert daemon.get("/api/calls?user_id=acme").status == 401
    call = CallMaker("acme")
    send_call(daemon, call)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_secret_file_that_others_could_change_is_refused(outcomed_binary, tmp_path):
    path = tmp_path / "secret"
    path.write_text(LIVEKIT)
    path.chmod(0o600)
    os.chown(path, 1, 1)
    refused = run(outcomed_binary, "check", env={"LIVEKIT_API_SECRET": None, "LIVEKIT_API_SECRET_FILE": str(path)})
    assert refused.returncode == 2 and "belongs to another user" in refused.stderr and LIVEKIT not in refused.stderr
