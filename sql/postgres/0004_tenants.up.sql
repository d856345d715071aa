-- Row-level security behind the queries: a reader sees the rows of the tenant in outcomed.tenant (several are separated by the byte 0x1f), which
-- each transaction sets for itself, and none where it is not set. FORCE, on our tables and on a call_logs that we made; never on the host's own.
--   outcomed_owner   the tables' owner, and whoever had rights before: every row
--   outcomed_writer  members of the role outcomed_writer: every row
--   outcomed_tenant  everybody else, so also the role outcomed_reader, under which the daemon reads
-- What holds for writers is the constant true, so that their statements are planned as if there were no policy. Roles belong to the whole server:
-- one that is there already is used as it is.
DO $roles$
DECLARE
	name text;
	may_create boolean := (SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user);
	is_super boolean := (SELECT rolsuper FROM pg_roles WHERE rolname = current_user);
BEGIN
	FOREACH name IN ARRAY ARRAY['outcomed_writer', 'outcomed_reader'] LOOP
		IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
			IF NOT may_create THEN
				RAISE NOTICE 'no role % (% may not create roles): outcomed goes on as %, and `outcomed check` says how to add it', name, current_user,
					current_user;
				CONTINUE;
			END IF;
			BEGIN
				EXECUTE format('CREATE ROLE %I NOLOGIN', name);
				EXECUTE format('COMMENT ON ROLE %I IS %L', name, 'made by outcomed migrate upgrade');
				RAISE NOTICE 'created role %', name;
			EXCEPTION WHEN duplicate_object OR unique_violation THEN
				NULL; -- by a migration of another database, at the same moment
			END;
		END IF;
		-- Of the writer's role its owner needs nothing: it has rights of its own.
		IF name = 'outcomed_reader' AND NOT is_super AND NOT pg_has_role(current_user, name, 'MEMBER') THEN
			BEGIN
				EXECUTE format('GRANT %I TO CURRENT_USER', name);
			EXCEPTION WHEN insufficient_privilege THEN
				RAISE NOTICE 'role % is not %''s to use: GRANT % TO %', name, current_user, name, quote_ident(current_user);
			END;
		END IF;
	END LOOP;
END
$roles$;

-- Is this call one of these tenants'? Where row and facts name different tenants the row's word counts, and where it names none that of the
-- facts. It looks past the policies, for calls of which only one of the two can be seen.
DO $sees$
DECLARE
	home text := (SELECT quote_ident(n.nspname) FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = to_regclass('call_facts'));
	logs text := (SELECT format('%I.%I', n.nspname, r.relname) FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
		WHERE r.oid = to_regclass('call_logs'));
BEGIN
	EXECUTE format('CREATE FUNCTION %s.outcomed_call_is_of(sid text, tenants text[]) RETURNS boolean LANGUAGE plpgsql STABLE STRICT
	SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $f$
BEGIN
	RETURN EXISTS (SELECT FROM (SELECT sid AS room) s LEFT JOIN %s l ON l."livekitRoomSid" = s.room LEFT JOIN %1$s.call_facts f ON f."roomSid" = s.room
		WHERE coalesce(l."userId"::text, f."userId") = ANY (tenants));
END
$f$', home, logs);
END
$sees$;

DO $policies$
DECLARE
	t record;
	tenants text := '((SELECT string_to_array(current_setting(''outcomed.tenant'', true), chr(31)))::text[])';
	owners text;
	readers text;
	role record;
BEGIN
	FOR t IN
		SELECT v.name, r.oid AS rel, r.relowner, n.nspname AS home,
			EXISTS (SELECT FROM outcomed_changes c WHERE c.kind = 'table' AND c."tableName" = v.name) AS ours, v.visible
		FROM (VALUES
			(1, 'livekit_call_events', format('"userId" = ANY (%s)', tenants)),
			(2, 'call_logs', format('"userId" = ANY (%s) OR ("userId" IS NULL AND @.outcomed_call_is_of("livekitRoomSid", %1$s))', tenants)),
			-- LIMIT, for of an EXISTS the planner would make a hash of all of the tenant's rows. A host's table may be altered as the host likes:
			-- no policy names its columns.
			(3, 'call_facts', format('"userId" = ANY (%s) OR ', tenants) || CASE WHEN EXISTS (
				SELECT FROM outcomed_changes WHERE kind = 'table' AND "tableName" = 'call_logs')
				THEN format('(SELECT true FROM call_logs l WHERE l."livekitRoomSid" = call_facts."roomSid" AND l."userId" = ANY (%s) LIMIT 1)', tenants)
				ELSE format('@.outcomed_call_is_of("roomSid", %s)', tenants) END),
			(4, 'call_legs', '(SELECT true FROM call_facts f WHERE f."roomSid" = call_legs."roomSid" LIMIT 1)'),
			(5, 'call_revisions', '(SELECT true FROM call_facts f WHERE f."roomSid" = call_revisions."roomSid" LIMIT 1)')) v (n, name, visible)
			JOIN pg_class r ON r.oid = to_regclass(v.name) JOIN pg_namespace n ON n.oid = r.relnamespace
		ORDER BY v.n
	LOOP
		FOR role IN SELECT rolname, rolname = 'outcomed_writer' AS writes FROM pg_roles WHERE rolname IN ('outcomed_writer', 'outcomed_reader') LOOP
			BEGIN
				IF NOT has_schema_privilege(role.rolname, t.home, 'USAGE') THEN
					EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', t.home, role.rolname);
				END IF;
				EXECUTE format('GRANT %s ON %s TO %I', CASE WHEN role.writes THEN 'SELECT, INSERT, UPDATE, DELETE' ELSE 'SELECT' END, t.rel::regclass,
					role.rolname);
			EXCEPTION WHEN insufficient_privilege THEN
				RAISE NOTICE 'role % gets no rights on %: they are not %''s to give', role.rolname, t.rel::regclass, current_user;
			END;
		END LOOP;
		CONTINUE WHEN NOT t.ours;

		-- Whoever had rights before keeps them: a daemon of the version before may be running.
		SELECT string_agg(DISTINCT quote_ident(r.rolname), ', ' ORDER BY quote_ident(r.rolname)),
			string_agg(DISTINCT quote_ident(r.rolname), ', ') FILTER (WHERE r.oid <> t.relowner) INTO owners, readers
			FROM pg_class c CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a
				JOIN pg_roles r ON r.oid = a.grantee OR r.oid = c.relowner
			WHERE c.oid = t.rel AND r.rolname NOT IN ('outcomed_writer', 'outcomed_reader');
		EXECUTE format('CREATE POLICY outcomed_owner ON %s TO %s USING (true)', t.rel::regclass, owners);
		IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'outcomed_writer') THEN
			EXECUTE format('CREATE POLICY outcomed_writer ON %s TO outcomed_writer USING (true)', t.rel::regclass);
		END IF;
		EXECUTE format('CREATE POLICY outcomed_tenant ON %s FOR SELECT USING (%s)', t.rel::regclass, replace(t.visible, '@', quote_ident(
			(SELECT n.nspname FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace WHERE r.oid = 'call_facts'::regclass))));
		EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t.rel::regclass);
		RAISE NOTICE 'row security on %', t.rel::regclass;
		IF readers IS NOT NULL THEN
			RAISE NOTICE 'these go on seeing every row of %, as they did: %', t.rel::regclass, readers;
		END IF;
	END LOOP;

	FOR role IN SELECT rolname FROM pg_roles WHERE rolname IN ('outcomed_writer', 'outcomed_reader') LOOP
		EXECUTE format('GRANT SELECT ON outcomed_migrations, outcomed_changes TO %I', role.rolname);
	END LOOP;
	IF NOT (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user) THEN
		RAISE NOTICE 'pg_dump as % wants --enable-row-security from now on', current_user;
	END IF;
END
$policies$;
