-- The journal: our rows leave the older module's table, its own stay. A table that we made is dropped with the rest.
DO $journal$
BEGIN
	IF to_regclass('livekit_call_events') IS NOT NULL
			AND NOT EXISTS (SELECT FROM outcomed_changes WHERE kind = 'table' AND name = 'livekit_call_events')
			AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('livekit_call_events') AND attname = 'source' AND NOT attisdropped) THEN
		DELETE FROM livekit_call_events WHERE source IS NOT NULL;
	END IF;
END
$journal$;
