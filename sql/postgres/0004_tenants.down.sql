DO $policies$
DECLARE
	p record;
	t record;
	role record;
BEGIN
	FOR p IN
		SELECT polname, polrelid::regclass AS rel FROM pg_policy WHERE polname IN ('outcomed_owner', 'outcomed_writer', 'outcomed_tenant')
			AND polrelid IN (to_regclass('livekit_call_events'), to_regclass('call_logs'), to_regclass('call_facts'), to_regclass('call_legs'),
				to_regclass('call_revisions'))
		ORDER BY polrelid, polname
	LOOP
		EXECUTE format('DROP POLICY %I ON %s', p.polname, p.rel);
		IF p.polname = 'outcomed_tenant' THEN
			EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', p.rel);
		END IF;
	END LOOP;
	FOR role IN SELECT rolname, shobj_description(oid, 'pg_authid') IS NOT DISTINCT FROM 'made by outcomed migrate upgrade' AS ours FROM pg_roles
		WHERE rolname IN ('outcomed_writer', 'outcomed_reader')
	LOOP
		FOR t IN
			SELECT r.oid AS rel, n.nspname AS home FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
			WHERE r.oid IN (to_regclass('livekit_call_events'), to_regclass('call_logs'), to_regclass('call_facts'), to_regclass('call_legs'),
				to_regclass('call_revisions'), to_regclass('outcomed_migrations'), to_regclass('outcomed_changes'))
		LOOP
			EXECUTE format('REVOKE ALL ON %s FROM %I', t.rel::regclass, role.rolname);
			EXECUTE format('REVOKE ALL ON SCHEMA %I FROM %I', t.home, role.rolname);
		END LOOP;
		CONTINUE WHEN NOT role.ours;
		BEGIN
			EXECUTE format('DROP ROLE %I', role.rolname);
			RAISE NOTICE 'dropped role %', role.rolname;
		EXCEPTION
			WHEN dependent_objects_still_exist THEN
				RAISE NOTICE 'kept role %: other things on this server depend on it', role.rolname;
			WHEN insufficient_privilege THEN
				RAISE NOTICE 'kept role %: % may not drop it', role.rolname, current_user;
		END;
	END LOOP;
END
$policies$;
DROP FUNCTION IF EXISTS outcomed_call_is_of(text, text[]);
