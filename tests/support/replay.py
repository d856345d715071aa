"""outcomed replay as a test runs it, and all that a database holds."""

import pathlib
import subprocess

from support.daemon import Database, environment

TABLES = ("call_facts", "call_logs", "call_legs", "call_revisions", "livekit_call_events")


def dump(database: Database, tables: tuple[str, ...] = TABLES) -> dict[str, list[str]]:
    """Every column of every row, as text."""
    if database.kind == "sqlite":
        return {t: sorted(repr(row) for row in database.query(f"SELECT * FROM {t}")) for t in tables}
    return {t: [row[0] for row in database.query(f"SELECT x::text FROM {t} x ORDER BY 1")] for t in tables}


def replay(binary: pathlib.Path, database: Database, *arguments: str) -> subprocess.CompletedProcess:
    done = subprocess.run([binary, "replay", "--database", database.url, *arguments], env=environment(keys=False), capture_output=True, text=True,
                          timeout=120, check=False)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done
