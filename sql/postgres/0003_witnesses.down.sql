-- Tables, columns and indexes of version 3 go by outcomed_changes.
DO $witnesses$
BEGIN
	IF EXISTS (SELECT FROM outcomed_changes WHERE kind = 'table' AND name = 'call_logs') AND to_regclass('call_logs') IS NOT NULL THEN
		ALTER TABLE call_logs SET (fillfactor = 80);
	END IF;
	IF to_regclass('call_facts') IS NOT NULL THEN
		ALTER TABLE call_facts SET (fillfactor = 50);
	END IF;
END
$witnesses$;
