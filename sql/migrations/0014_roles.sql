-- The role of a running service: it stores events, sets aside what was refused, and reads. It changes
-- nothing else, and makes nothing: migrations and jobs are the owner's. See docs/deployment.md.

create procedure grant_service_access()
language plpgsql
set search_path = public, pg_temp
as $$
declare
    relation regclass;
begin
    if to_regrole('tallymark_service') is null then
        raise warning 'there is no role tallymark_service: see docs/deployment.md';
        return;
    end if;
    grant insert on events, rejected_events, ingest_minutes to tallymark_service;
    -- Not all tables of the schema: an extension's may be somebody else's.
    for relation in
        select oid from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')
          and pg_has_role(relowner, 'usage')
    loop
        execute format('grant select on %s to tallymark_service', relation);
    end loop;
    -- What later migrations make, too.
    alter default privileges in schema public grant select on tables to tallymark_service;
    grant execute on function hasten_refreshes() to tallymark_service;
end
$$;

revoke execute on procedure grant_service_access() from public;

-- Lets the refresh policies run at once, as after a replay. Only their owner may refresh, so it does:
-- this runs with its rights, and does nothing else.
create function hasten_refreshes()
returns void
language sql volatile security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select alter_job(job_id, next_start => now())
    from timescaledb_information.jobs
    join event_aggregates() on mat_hypertable_id = (config ->> 'mat_hypertable_id')::integer
    where proc_name = 'policy_refresh_continuous_aggregate' and scheduled
$$;

revoke execute on function hasten_refreshes() from public;

comment on function hasten_refreshes() is
    'Lets the policies bring the aggregates of events up to date at once; for who may not refresh them';

-- Roles are the whole server's: another database may have made this one, or be making it now.
do $$
begin
    create role tallymark_service nologin;
exception
    when duplicate_object or unique_violation then
        null;
    when insufficient_privilege then
        raise warning 'the role tallymark_service can''t be made: see docs/deployment.md';
end
$$;

call grant_service_access();
