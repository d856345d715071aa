"""Databases as outcomed finds them: tables of a host application and of the older module, in the shapes that frameworks make."""

import json
import pathlib
import re
import shutil
import subprocess

import psycopg

# Names as in a Prisma schema: quoted camelCase, uuid keys, a table beside that refers to call_logs, columns that outcomed cannot fill.
UUID_HOST = """
CREATE TABLE users (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), email TEXT NOT NULL UNIQUE);
CREATE TABLE call_logs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    "userId" UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    "agentConfigId" UUID,
    "livekitRoomName" VARCHAR(255),
    direction TEXT NOT NULL DEFAULT 'outbound',
    "phoneNumber" VARCHAR(32),
    cost NUMERIC(10, 4),
    metadata JSONB NOT NULL DEFAULT '{}',
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL
);
CREATE INDEX "call_logs_userId_idx" ON call_logs ("userId");
CREATE TABLE call_notes (id SERIAL PRIMARY KEY, "callId" UUID NOT NULL REFERENCES call_logs (id) ON DELETE CASCADE, note TEXT);
COMMENT ON COLUMN call_logs.cost IS 'in euro';
INSERT INTO users VALUES ('00000000-0000-4000-8000-000000000001', 'one@example.com'), ('00000000-0000-4000-8000-000000000002', 'two@example.com');
INSERT INTO call_logs (id, "userId", "livekitRoomName", metadata, "updatedAt") VALUES
    ('10000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', 'old-room', '{"crm": 7}', now()),
    ('10000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000002', NULL, '{}', now());
INSERT INTO call_notes ("callId", note) VALUES ('10000000-0000-4000-8000-000000000001', 'was nice');
"""

# Numbers as keys, an own unique index on the room SID, a column that nobody but the host can fill.
STRICT_HOST = """
CREATE TABLE users (id BIGSERIAL PRIMARY KEY);
CREATE TABLE call_logs (
    id BIGSERIAL PRIMARY KEY,
    "userId" BIGINT NOT NULL REFERENCES users (id),
    "agentId" INTEGER NOT NULL,
    "livekitRoomSid" TEXT,
    "livekitRoomName" TEXT NOT NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'initiated',
    duration DOUBLE PRECISION,
    "createdAt" TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX call_logs_sid ON call_logs ("livekitRoomSid");
INSERT INTO users DEFAULT VALUES;
INSERT INTO call_logs ("userId", "agentId", "livekitRoomName") VALUES (1, 4, 'first'), (1, 4, 'second');
"""

# Only what a call log needs at least, and room SIDs that are there twice.
BARE_HOST = """
CREATE TABLE call_logs (id TEXT PRIMARY KEY, "userId" TEXT, "livekitRoomSid" TEXT, metadata TEXT);
INSERT INTO call_logs VALUES ('a', 'user-1', 'RM_twice', NULL), ('b', 'user-1', 'RM_twice', 'no JSON'), ('c', NULL, NULL, '{"x": 1}');
"""

# Numbers for everything, enums for the words.
ENUM_HOST = """
CREATE TYPE call_status AS ENUM ('active', 'ended', 'scheduled');
CREATE TYPE "CallOutcome" AS ENUM ('completed', 'no_answer');
CREATE TABLE users (id SERIAL PRIMARY KEY);
CREATE TABLE call_logs (
    id SERIAL PRIMARY KEY,
    "userId" INTEGER REFERENCES users (id),
    "livekitRoomName" TEXT,
    status call_status NOT NULL DEFAULT 'scheduled',
    outcome "CallOutcome",
    metadata JSON,
    duration INTEGER,
    "startedAt" TIMESTAMP,
    "createdAt" TIMESTAMPTZ DEFAULT now()
);
INSERT INTO users SELECT FROM generate_series(1, 3);
INSERT INTO call_logs ("userId", "livekitRoomName", metadata) VALUES (1, 'kept', '{"b": 1, "a": 2}');
"""

# The older module beside a host's call_logs.
OLDER_MODULE = UUID_HOST + """
CREATE TABLE livekit_call_events (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    "userId" UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    "callLogId" UUID NOT NULL REFERENCES call_logs (id) ON DELETE CASCADE,
    "eventId" VARCHAR(255) NOT NULL UNIQUE,
    event VARCHAR(100) NOT NULL,
    "roomName" VARCHAR(255) NOT NULL,
    "roomSid" VARCHAR(255),
    "participantIdentity" VARCHAR(255),
    "participantSid" VARCHAR(255),
    timestamp BIGINT NOT NULL,
    "rawPayload" JSONB NOT NULL,
    processed INTEGER NOT NULL DEFAULT 0,
    "errorMessage" TEXT,
    "createdAt" TIMESTAMP NOT NULL DEFAULT now(),
    "processedAt" TIMESTAMP
);
CREATE INDEX idx_livekit_events_room ON livekit_call_events ("roomName");
CREATE INDEX idx_livekit_events_user ON livekit_call_events ("userId", "createdAt");
INSERT INTO livekit_call_events ("userId", "callLogId", "eventId", event, "roomName", timestamp, "rawPayload", processed) VALUES
    ('00000000-0000-4000-8000-000000000001', '10000000-0000-4000-8000-000000000001', 'EV_old1', 'room_started', 'old-room', 1700000000, '{"a": 1}', 1),
    ('00000000-0000-4000-8000-000000000001', '10000000-0000-4000-8000-000000000001', 'EV_old2', 'room_finished', 'old-room', 1700000009, '{}', 0);
"""

# The older module alone, of another vintage: numbers as keys, no room SID, truth values, texts instead of JSON, an id without default.
OLDER_MODULE_BARE = """
CREATE TABLE users (id SERIAL PRIMARY KEY);
CREATE TABLE livekit_call_events (
    id VARCHAR(64) PRIMARY KEY,
    "userId" INTEGER NOT NULL REFERENCES users (id),
    "eventId" TEXT NOT NULL,
    event TEXT NOT NULL,
    "roomName" TEXT,
    timestamp TIMESTAMP,
    "rawPayload" TEXT NOT NULL,
    processed BOOLEAN NOT NULL DEFAULT false,
    "retryCount" INTEGER NOT NULL,
    "createdAt" TIMESTAMP WITHOUT TIME ZONE NOT NULL
);
CREATE INDEX idx_livekit_events_event_id ON livekit_call_events ("eventId");
INSERT INTO users SELECT FROM generate_series(1, 2);
INSERT INTO livekit_call_events VALUES ('x1', 1, 'EV_old1', 'room_started', 'old-room', now(), '{}', true, 0, now());
"""

HOSTS = {
    "empty": "",
    "uuid": UUID_HOST,
    "strict": STRICT_HOST,
    "bare": BARE_HOST,
    "enum": ENUM_HOST,
    "older_module": OLDER_MODULE,
    "older_module_bare": OLDER_MODULE_BARE,
}


def program(name: str) -> str:
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    return str(found[-1]) if found else shutil.which(name) or name


def schema(url: str) -> str:
    """What pg_dump says of the schema, without the lines that differ from run to run."""
    dump = subprocess.run([program("pg_dump"), "--schema-only", url], check=True, capture_output=True, text=True).stdout
    return re.sub(r"^\\(un)?restrict .*\n", "", dump, flags=re.MULTILINE)


def rows(url: str) -> dict[str, list[str]]:
    """Every row of every table, as text."""
    with psycopg.connect(url) as db:
        tables = db.execute("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
                            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1").fetchall()
        return {table: [json.dumps(row, sort_keys=True) for (row,) in db.execute(f"SELECT row_to_json(t) FROM {table} t ORDER BY t::text")]
                for (table,) in tables}


def execute(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(sql)


def query(url: str, sql: str, *arguments) -> list[tuple]:
    with psycopg.connect(url, autocommit=True) as db:
        return db.execute(sql, arguments).fetchall()


def value(url: str, sql: str, *arguments):
    return query(url, sql, *arguments)[0][0]
