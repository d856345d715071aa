-- Marks by sip.callID, the legs of a call, verdicts that were final and then changed, and when the watcher should ask LiveKit.
DO $witnesses$
DECLARE
	journal regclass := to_regclass('livekit_call_events');
	logs regclass := to_regclass('call_logs');
	home text;
BEGIN
	SELECT n.nspname INTO home FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = journal;
	IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = journal AND a.attname = 'sipCallId' AND NOT a.attisdropped) THEN
		EXECUTE format('ALTER TABLE %s ADD COLUMN "sipCallId" TEXT', journal);
		INSERT INTO outcomed_changes (version, kind, "tableSchema", "tableName", name)
			VALUES (3, 'column', home, 'livekit_call_events', 'sipCallId');
		RAISE NOTICE 'added column livekit_call_events."sipCallId"';
	END IF;
	INSERT INTO outcomed_changes (version, kind, "tableSchema", "tableName", name, definition, pending)
		VALUES (3, 'index', home, 'livekit_call_events', 'idx_lce_unbound_sip', '("sipCallId") WHERE "roomSid" IS NULL AND "sipCallId" IS NOT NULL', true);

	-- A row of ours is written several times in a call's life and grows to two or three times its first size: room for its next
	-- versions on the same page, so that no index has to be written again.
	IF EXISTS (SELECT FROM outcomed_changes WHERE kind = 'table' AND name = 'call_logs')
			AND (SELECT relkind FROM pg_class WHERE oid = logs) = 'r' THEN
		EXECUTE format('ALTER TABLE %s SET (fillfactor = 40)', logs);
	END IF;

	SELECT n.nspname INTO home FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = 'call_facts'::regclass;
	ALTER TABLE call_facts ADD COLUMN "watchAtMs" BIGINT;
	ALTER TABLE call_facts SET (fillfactor = 20);
	-- The room's start, which stays as it is while the call's moves with those who come: the name's index is not to be written each time.
	ALTER TABLE call_facts ADD COLUMN "roomStartedAtMs" BIGINT;
	UPDATE call_facts SET "roomStartedAtMs" = "startedAtMs";
	DROP INDEX idx_call_facts_name;
	CREATE INDEX idx_call_facts_name ON call_facts ("roomName", "roomStartedAtMs");
	CREATE INDEX idx_call_facts_watch ON call_facts ("watchAtMs") WHERE "watchAtMs" IS NOT NULL;
	INSERT INTO outcomed_changes (version, kind, "tableSchema", "tableName", name) VALUES (3, 'column', home, 'call_facts', 'watchAtMs'),
		(3, 'column', home, 'call_facts', 'roomStartedAtMs');

	-- sip.callID -> call, of every leg.
	CREATE TABLE call_legs (
		"sipCallId" TEXT NOT NULL,
		"roomSid" TEXT NOT NULL,
		PRIMARY KEY ("sipCallId", "roomSid")
	);
	CREATE INDEX idx_call_legs_room ON call_legs ("roomSid");
	-- The verdicts that a later one replaced; the present one is in call_facts.
	CREATE TABLE call_revisions (
		"roomSid" TEXT NOT NULL,
		revision BIGINT NOT NULL,
		outcome TEXT,
		rules INTEGER,
		verdict JSON,
		"createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT now(),
		PRIMARY KEY ("roomSid", revision)
	);
	INSERT INTO outcomed_changes (version, kind, "tableSchema", "tableName", name)
		VALUES (3, 'table', home, 'call_legs', 'call_legs'), (3, 'table', home, 'call_revisions', 'call_revisions');
	RAISE NOTICE 'created table call_legs';
	RAISE NOTICE 'created table call_revisions';
END
$witnesses$;
