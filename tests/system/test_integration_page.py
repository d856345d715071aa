"""docs/INTEGRATION.md holds as written: its commands are run, in order, on a host's own PostgreSQL, and print what the page says."""

import os
import pathlib

import psycopg
import pytest

from support import console
from support.postgres import free_port

pytestmark = pytest.mark.integration
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "INTEGRATION.md"

HOST_SCHEMA = """
CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT NOT NULL);
CREATE TABLE call_logs (
    id TEXT PRIMARY KEY,
    "userId" TEXT NOT NULL REFERENCES users (id),
    "agentConfigId" TEXT,
    "livekitRoomName" TEXT,
    "phoneNumber" TEXT,
    cost NUMERIC(10, 4),
    metadata JSONB,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO users VALUES ('user-1', 'one@example.com'), ('user-2', 'two@example.com'), ('user-5', 'five@example.com');
INSERT INTO call_logs (id, "userId", "livekitRoomName", metadata) VALUES ('call-from-last-year', 'user-1', 'old-room', '{"crm": 7}');
"""


def test_every_command_of_the_integration_page_prints_what_the_page_says(postgres_url, outcomed_binary, tmp_path, say):
    with psycopg.connect(postgres_url, autocommit=True) as host:
        host.execute(HOST_SCHEMA)
    port = str(free_port())
    (tmp_path / "captures").symlink_to(ROOT / "tests" / "captures")
    env = {"PATH": f"{outcomed_binary.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    shell = console.Shell(tmp_path, env)
    stands_for = {"postgresql://outcomed:secret@localhost/app": postgres_url, "127.0.0.1:5000": f"127.0.0.1:{port}"}
    ran = 0
    try:
        for step in console.steps(PAGE):
            command, expected = step.command, "\n".join(step.expected)
            for text, real in stands_for.items():
                command, expected = command.replace(text, real), expected.replace(text, real)
            printed = shell.run(command)
            assert console.pattern(expected.split("\n") if expected else []).fullmatch(printed), (
                f"{PAGE.name}:{step.line}: $ {step.command}\nthe page says:\n{expected}\nit printed:\n{printed}")
            ran += 1
    finally:
        shell.close()
    assert ran >= 20
    say(f"docs/INTEGRATION.md: {ran} commands printed what the page says")
