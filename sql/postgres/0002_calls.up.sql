-- call_logs (made here, or the host's completed) and call_facts, our own state of each call.
DO $calls$
DECLARE
	logs regclass := to_regclass('call_logs');
	home text;
	there_before boolean := logs IS NOT NULL;
	sid smallint;
	twice text;
	c record;
BEGIN
	IF logs IS NULL THEN
		CREATE TABLE call_logs (
			id TEXT PRIMARY KEY DEFAULT gen_random_uuid()::text,
			"userId" TEXT,
			"livekitRoomName" TEXT,
			"livekitRoomSid" TEXT,
			direction TEXT,
			"phoneNumber" TEXT,
			"sipCallId" TEXT,
			duration INTEGER,
			"startedAt" TIMESTAMPTZ(3),
			"endedAt" TIMESTAMPTZ(3),
			status TEXT,
			outcome TEXT,
			"recordingUrl" TEXT,
			metadata JSONB,
			"createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT now(),
			"updatedAt" TIMESTAMPTZ(3)
		) WITH (fillfactor = 80);
		logs := to_regclass('call_logs');
	ELSIF (SELECT relkind FROM pg_class WHERE oid = logs) NOT IN ('r', 'p') THEN
		RAISE EXCEPTION '% is no table', logs USING ERRCODE = 'OC001', HINT = 'outcomed writes to a table of that name; put another '
			'schema first in search_path (?options=-csearch_path%3Dname in the URL).';
	ELSIF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = logs AND a.attname = 'id' AND NOT a.attisdropped) THEN
		RAISE EXCEPTION '% has no column id', logs USING ERRCODE = 'OC001', HINT = 'outcomed names a call by call_logs.id.';
	END IF;
	SELECT n.nspname INTO home FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = logs;

	IF there_before THEN
		RAISE NOTICE 'kept table call_logs and its rows';
		FOR c IN
			SELECT v.name, v.type FROM (VALUES (1, 'userId', 'TEXT'), (2, 'livekitRoomName', 'TEXT'), (3, 'livekitRoomSid', 'TEXT'), (4, 'direction', 'TEXT'),
				(5, 'phoneNumber', 'TEXT'), (6, 'sipCallId', 'TEXT'), (7, 'duration', 'INTEGER'), (8, 'startedAt', 'TIMESTAMPTZ(3)'),
				(9, 'endedAt', 'TIMESTAMPTZ(3)'), (10, 'status', 'TEXT'), (11, 'outcome', 'TEXT'), (12, 'recordingUrl', 'TEXT'), (13, 'metadata', 'JSONB'),
				(14, 'createdAt', 'TIMESTAMPTZ(3)'), (15, 'updatedAt', 'TIMESTAMPTZ(3)')) v (n, name, type)
			WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = logs AND a.attname = v.name AND NOT a.attisdropped)
			ORDER BY v.n
		LOOP
			EXECUTE format('ALTER TABLE %s ADD COLUMN %I %s', logs, c.name, c.type);
			-- Rows written from now on say when they were; of the old ones nobody knows.
			IF c.name = 'createdAt' THEN
				EXECUTE format('ALTER TABLE %s ALTER COLUMN "createdAt" SET DEFAULT now()', logs);
			END IF;
			INSERT INTO outcomed_changes (version, kind, "tableSchema", "tableName", name) VALUES (2, 'column', home, 'call_logs', c.name);
			RAISE NOTICE 'added column call_logs.%', quote_ident(c.name);
		END LOOP;
	ELSE
		INSERT INTO outcomed_changes (version, kind, "tableSchema", "tableName", name) VALUES (2, 'table', home, 'call_logs', 'call_logs');
		RAISE NOTICE 'created table call_logs';
	END IF;

	SELECT a.attnum INTO sid FROM pg_attribute a WHERE a.attrelid = logs AND a.attname = 'livekitRoomSid';
	IF EXISTS (SELECT FROM pg_index i WHERE i.indrelid = logs AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = sid) THEN
		RAISE NOTICE 'kept the index on call_logs."livekitRoomSid"';
	ELSE
		EXECUTE format('SELECT "livekitRoomSid" FROM %s WHERE "livekitRoomSid" IS NOT NULL GROUP BY 1 HAVING count(*) > 1 LIMIT 1', logs)
			INTO twice;
		IF twice IS NOT NULL THEN
			RAISE NOTICE 'call_logs has several rows with "livekitRoomSid" %: its index is made, but not unique; the row with the smallest id '
				'gets the outcome', quote_literal(twice);
		END IF;
		INSERT INTO outcomed_changes (version, kind, "tableSchema", "tableName", name, definition, pending)
			VALUES (2, CASE WHEN twice IS NULL AND (SELECT relkind FROM pg_class WHERE oid = logs) = 'r' THEN 'unique index' ELSE 'index' END,
				home, 'call_logs', 'idx_call_logs_livekitRoomSid', '("livekitRoomSid")', true);
	END IF;
	INSERT INTO outcomed_changes (version, kind, "tableSchema", "tableName", name, definition, pending)
		SELECT 2, 'index', home, 'call_logs', v.name, v.definition, true
		FROM (VALUES (1, 'idx_call_logs_unclaimed', '("livekitRoomName") WHERE "livekitRoomSid" IS NULL'),
			(2, 'idx_call_logs_user', '("userId", "startedAt" DESC, id DESC)')) v (n, name, definition)
		ORDER BY v.n;
END
$calls$;

-- Written with every event of a call: room for the next version of a row on its page, and no compression of what is read back at once.
CREATE TABLE call_facts (
	"roomSid" TEXT PRIMARY KEY,
	"roomName" TEXT,
	"userId" TEXT,
	"tenantError" TEXT,
	"callLogId" TEXT,
	"callLogIsOurs" INTEGER NOT NULL DEFAULT 0,
	facts TEXT,
	rules INTEGER,
	verdict JSON,
	outcome TEXT,
	revision BIGINT NOT NULL DEFAULT 0,
	"startedAtMs" BIGINT,
	"endedAtMs" BIGINT,
	"dueAtMs" BIGINT,
	"createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT now(),
	"updatedAt" TIMESTAMPTZ(3) NOT NULL DEFAULT now()
) WITH (fillfactor = 50, toast_tuple_target = 4000);
CREATE INDEX idx_call_facts_due ON call_facts ("dueAtMs") WHERE "dueAtMs" IS NOT NULL;
CREATE INDEX idx_call_facts_name ON call_facts ("roomName", "startedAtMs");
CREATE INDEX "idx_call_facts_callLogId" ON call_facts ("roomSid") WHERE "callLogId" IS NULL;
CREATE INDEX idx_call_facts_open ON call_facts ("roomSid") WHERE outcome IS NULL;
INSERT INTO outcomed_changes (version, kind, "tableSchema", "tableName", name)
	SELECT 2, 'table', n.nspname, 'call_facts', 'call_facts' FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
	WHERE r.oid = 'call_facts'::regclass;
DO $facts$ BEGIN RAISE NOTICE 'created table call_facts'; END $facts$;
