DROP TABLE IF EXISTS call_revisions;
DROP TABLE IF EXISTS call_legs;
DROP INDEX IF EXISTS idx_call_facts_watch;
ALTER TABLE call_facts DROP COLUMN "watchAtMs";
DROP INDEX IF EXISTS idx_call_facts_name;
CREATE INDEX idx_call_facts_name ON call_facts ("roomName", "startedAtMs");
ALTER TABLE call_facts DROP COLUMN "roomStartedAtMs";
DROP INDEX IF EXISTS idx_lce_unbound_sip;
ALTER TABLE livekit_call_events DROP COLUMN "sipCallId";
