-- A call_logs of the host's own is kept and only gets the columns that it lacks; with none there ours takes the name.
CREATE TABLE outcomed_call_logs (
	id TEXT PRIMARY KEY NOT NULL,
	"userId" TEXT,
	"livekitRoomName" TEXT,
	"livekitRoomSid" TEXT,
	direction TEXT,
	"phoneNumber" TEXT,
	"sipCallId" TEXT,
	duration INTEGER,
	"startedAt" TEXT,
	"endedAt" TEXT,
	status TEXT,
	outcome TEXT,
	"recordingUrl" TEXT,
	metadata TEXT,
	"createdAt" TEXT,
	"updatedAt" TEXT
);
-- @adopt outcomed_call_logs call_logs

-- @unique "idx_call_logs_livekitRoomSid" ON call_logs ("livekitRoomSid") WHERE "livekitRoomSid" IS NOT NULL
CREATE INDEX idx_call_logs_unclaimed ON call_logs ("livekitRoomName") WHERE "livekitRoomSid" IS NULL;
-- The time as milliseconds: a host may write times in other forms than ours. src/store/sqlite_read.c says the same expression.
CREATE INDEX idx_call_logs_user ON call_logs ("userId", (COALESCE(
	CASE typeof("startedAt") WHEN 'integer' THEN "startedAt" * iif("startedAt" > 99999999999, 1, 1000)
		ELSE CAST((julianday("startedAt") - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) END,
	CASE typeof("createdAt") WHEN 'integer' THEN "createdAt" * iif("createdAt" > 99999999999, 1, 1000)
		ELSE CAST((julianday("createdAt") - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) END,
	0)) DESC, id DESC);

-- Ours alone: what the events of a call have established, and the verdict.
CREATE TABLE call_facts (
	"roomSid" TEXT PRIMARY KEY NOT NULL,
	"roomName" TEXT,
	"userId" TEXT,
	"tenantError" TEXT,
	"callLogId" TEXT,
	"callLogIsOurs" INTEGER NOT NULL DEFAULT 0,
	facts TEXT,
	rules INTEGER NOT NULL DEFAULT 0,
	verdict TEXT,
	outcome TEXT,
	revision INTEGER NOT NULL DEFAULT 0,
	"startedAtMs" INTEGER,
	"endedAtMs" INTEGER,
	"dueAtMs" INTEGER,
	"createdAt" TEXT NOT NULL,
	"updatedAt" TEXT NOT NULL
) STRICT;
CREATE INDEX idx_call_facts_due ON call_facts ("dueAtMs") WHERE "dueAtMs" IS NOT NULL;
CREATE INDEX idx_call_facts_name ON call_facts ("roomName", "startedAtMs");
CREATE INDEX "idx_call_facts_callLogId" ON call_facts ("callLogId");
CREATE INDEX idx_call_facts_open ON call_facts ("roomSid") WHERE outcome IS NULL;
