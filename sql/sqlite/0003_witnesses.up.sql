-- Marks by sip.callID, the legs of a call, verdicts that were final and then changed, and when the watcher should ask LiveKit.
ALTER TABLE livekit_call_events ADD COLUMN "sipCallId" TEXT;
CREATE INDEX idx_lce_unbound_sip ON livekit_call_events ("sipCallId") WHERE "roomSid" IS NULL AND "sipCallId" IS NOT NULL;

-- The room's start, for matching by name: it stays as it is while the call's start moves with those who come.
ALTER TABLE call_facts ADD COLUMN "roomStartedAtMs" INTEGER;
UPDATE call_facts SET "roomStartedAtMs" = "startedAtMs";
DROP INDEX idx_call_facts_name;
CREATE INDEX idx_call_facts_name ON call_facts ("roomName", "roomStartedAtMs");

ALTER TABLE call_facts ADD COLUMN "watchAtMs" INTEGER;
CREATE INDEX idx_call_facts_watch ON call_facts ("watchAtMs") WHERE "watchAtMs" IS NOT NULL;

-- sip.callID -> call, of every leg.
CREATE TABLE call_legs (
	"sipCallId" TEXT NOT NULL,
	"roomSid" TEXT NOT NULL,
	PRIMARY KEY ("sipCallId", "roomSid")
) STRICT, WITHOUT ROWID;
CREATE INDEX idx_call_legs_room ON call_legs ("roomSid");

-- The verdicts that a later one replaced; the present one is in call_facts.
CREATE TABLE call_revisions (
	"roomSid" TEXT NOT NULL,
	revision INTEGER NOT NULL,
	outcome TEXT,
	rules INTEGER,
	verdict TEXT,
	"createdAt" TEXT NOT NULL,
	PRIMARY KEY ("roomSid", revision)
) STRICT, WITHOUT ROWID;
