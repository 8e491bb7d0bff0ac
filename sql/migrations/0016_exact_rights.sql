-- The service's role may do exactly what it needs: 0014 let it read all of public that the migrating role
-- may grant, others' tables too, and whatever would come. And nobody makes things in public unasked.

-- What tallymark_service needs of tables and views: it is granted that, and doctor tells of more.
create function service_rights()
returns table (relation regclass, privilege text)
language sql stable
set search_path = public, pg_temp
as $$
    select unnest(array['events', 'rejected_events', 'ingest_minutes'])::regclass, 'INSERT'
    union all
    select unnest(array[
        'events', 'stale_ranges', 'event_counts_stale', 'retention', 'keys', 'database_identity',
        'schema_migrations'
    ])::regclass, 'SELECT'
    union all
    select name, 'SELECT'
    from event_aggregates() join pg_class on pg_class.oid = name
    where relowner = (select relowner from pg_class where oid = 'events'::regclass)
$$;

-- A migration that makes what the service needs names it above, and calls this.
create or replace procedure grant_service_access()
language plpgsql
set search_path = public, pg_temp
as $$
declare
    needed record;
    excess record;
begin
    if to_regrole('tallymark_service') is null then
        raise warning 'there is no role tallymark_service: see docs/deployment.md';
        return;
    end if;
    for excess in
        select pg_class.oid::regclass as relation, privilege_type as privilege
        from pg_class cross join aclexplode(relacl)
        where relnamespace = 'public'::regnamespace and grantee = to_regrole('tallymark_service')
          and relkind in ('r', 'p', 'v', 'm', 'f') and pg_has_role(relowner, 'usage')
        except
        select relation, privilege from service_rights()
    loop
        execute format('revoke %s on %s from tallymark_service', excess.privilege, excess.relation);
    end loop;
    for needed in select relation, privilege from service_rights() loop
        execute format('grant %s on %s to tallymark_service', needed.privilege, needed.relation);
    end loop;
    grant execute on function hasten_refreshes() to tallymark_service;
end
$$;

-- Whoever migrated: what it makes later was to be read by the service.
do $$
declare
    maker name;
begin
    for maker in
        select distinct pg_get_userbyid(defaclrole)
        from pg_default_acl cross join aclexplode(defaclacl)
        where defaclnamespace = 'public'::regnamespace and defaclobjtype = 'r'
          and grantee = to_regrole('tallymark_service') and pg_has_role(defaclrole, 'usage')
    loop
        execute format(
            'alter default privileges for role %I in schema public revoke all on tables from tallymark_service',
            maker
        );
    end loop;
end
$$;

call grant_service_access();

-- Before PostgreSQL 15 everybody might create in public, and an upgrade or a restore keeps that. Functions
-- that run with their owner's rights look there: somebody else's operator would run with them.
do $$
declare
    schema_owner constant oid := (select nspowner from pg_namespace where nspname = 'public');
    our_owner    constant name := (
        select pg_get_userbyid(relowner) from pg_class where oid = 'public.events'::regclass
    );
begin
    if not has_schema_privilege('public', 'public', 'create') then
        return;
    end if;
    if not pg_has_role(schema_owner, 'usage') then
        raise warning 'everybody may create in the schema public: see docs/deployment.md';
        return;
    end if;
    revoke create on schema public from public;
    -- Later migrations are its, too.
    if not has_schema_privilege(our_owner, 'public', 'create') then
        execute format('grant create on schema public to %I', our_owner);
    end if;
end
$$;
