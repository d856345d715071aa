DROP TABLE IF EXISTS call_facts;
DROP INDEX IF EXISTS idx_call_logs_user;
DROP INDEX IF EXISTS idx_call_logs_unclaimed;
DROP INDEX IF EXISTS "idx_call_logs_livekitRoomSid";
-- @restore call_logs
