-- A host's call_logs loses the rows that we inserted (but those that another table of the host's refers to) and our key in metadata.
-- Our journal rows go first, where the older module's table refers to call_logs.
DO $calls$
DECLARE
	logs regclass := to_regclass('call_logs');
	journal regclass := to_regclass('livekit_call_events');
	id_type text;
	metadata_type text;
	metadata_null text;
	referred text := '';
	removed bigint;
	f record;
BEGIN
	IF logs IS NULL OR EXISTS (SELECT FROM outcomed_changes WHERE kind = 'table' AND name = 'call_logs') THEN
		RETURN;
	END IF;
	IF journal IS NOT NULL AND NOT EXISTS (SELECT FROM outcomed_changes WHERE kind = 'table' AND name = 'livekit_call_events') THEN
		DELETE FROM livekit_call_events WHERE source IS NOT NULL;
	END IF;

	SELECT format_type(atttypid, atttypmod) INTO id_type FROM pg_attribute WHERE attrelid = logs AND attname = 'id' AND NOT attisdropped;
	FOR f IN
		SELECT c.conrelid::regclass AS rel, a.attname AS col, b.attname AS target
		FROM pg_constraint c
			JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
			JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1]
		WHERE c.contype = 'f' AND c.confrelid = logs AND c.conparentid = 0
	LOOP
		referred := referred || format(' AND NOT EXISTS (SELECT FROM %s r WHERE r.%I = l.%I)', f.rel, f.col, f.target);
	END LOOP;
	EXECUTE format('DELETE FROM %s l USING call_facts f WHERE f."callLogIsOurs" = 1 AND l.id = f."callLogId"::%s%s', logs, id_type, referred);
	GET DIAGNOSTICS removed = ROW_COUNT;
	RAISE NOTICE 'removed % rows of ours from call_logs', removed;
	EXECUTE format('SELECT count(*) FROM %s l JOIN call_facts f ON f."callLogIsOurs" = 1 AND l.id = f."callLogId"::%s', logs, id_type) INTO removed;
	IF removed > 0 THEN
		RAISE NOTICE 'kept % rows of ours in call_logs: other tables refer to them', removed;
	END IF;

	SELECT t.typname, CASE WHEN a.attnotnull OR a.atthasdef THEN '''{}''' ELSE 'NULL' END INTO metadata_type, metadata_null
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = logs AND a.attname = 'metadata' AND NOT a.attisdropped
			AND NOT EXISTS (SELECT FROM outcomed_changes h WHERE h.kind = 'column' AND h."tableName" = 'call_logs' AND h.name = 'metadata');
	IF metadata_type IN ('jsonb', 'json', 'text', 'varchar') THEN
		EXECUTE format('UPDATE %s l SET metadata = CASE WHEN m.rest = ''{}'' THEN %s ELSE m.rest END::%s
			FROM (SELECT x.id, (x.metadata::jsonb - ''outcomed'')::text AS rest
				FROM call_facts f JOIN %1$s x ON x.id = f."callLogId"::%4$s
				WHERE CASE WHEN left(ltrim(x.metadata::text), 1) = ''{'' AND x.metadata::text LIKE ''%%"outcomed"%%''
					THEN x.metadata::jsonb ? ''outcomed'' ELSE false END) m
			WHERE l.id = m.id', logs, metadata_null, metadata_type, id_type);
	END IF;
END
$calls$;
