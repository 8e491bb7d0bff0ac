-- The schema of the operational dashboards, and what they need that is no view. The views themselves
-- are the files of sql/dashboards, which are applied after the migrations. See docs/dashboards.md.

create schema ops;

comment on schema ops is 'Operational dashboards: views whose comments say what they answer';

-- Which texts of sql/dashboards were applied.
create table schema_dashboards (
    name       text        not null,
    checksum   text        not null,
    applied_at timestamptz not null default now(),
    primary key (name, checksum)
);

-- Hypertables and aggregates under the names that people know them by. A function and no view: see
-- ops.drop_dashboards().
create function ops.relations()
returns table (hypertable text, relation regclass)
language sql stable rows 10
as $$
    select hypertable_name::text, format('%I.%I', hypertable_schema, hypertable_name)::regclass
    from timescaledb_information.hypertables
    union all
    select view_name::text,
           format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)::regclass
    from timescaledb_information.continuous_aggregates
$$;

-- It takes a superuser, and shared_preload_libraries to collect anything: nothing depends on it.
do $$
begin
    create extension if not exists pg_stat_statements;
exception
    when feature_not_supported or undefined_file or insufficient_privilege then
        raise warning 'pg_stat_statements is not there: %', sqlerrm;
end
$$;

-- Statistics of this database's statements; no rows where pg_stat_statements is absent or not preloaded,
-- since a view that named it could not be made there. It may be in any schema.
create function ops.statements()
returns table (
    calls       bigint,
    total_ms    double precision,
    mean_ms     double precision,
    max_ms      double precision,
    row_count   bigint,
    blocks_hit  bigint,
    blocks_read bigint,
    statement   text
)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    place text := (
        select quote_ident(nspname)
        from pg_extension join pg_namespace on pg_namespace.oid = extnamespace
        where extname = 'pg_stat_statements'
    );
begin
    if place is null then
        return;
    end if;
    perform set_config('search_path', place || ', pg_temp', true);
    return query
        select calls, total_exec_time, mean_exec_time, max_exec_time, rows,
               shared_blks_hit, shared_blks_read, query
        from pg_stat_statements
        where dbid = (select oid from pg_database where datname = current_database());
exception
    when object_not_in_prerequisite_state then
        return;
end
$$;

-- The last failure of each job. TimescaleDB shows failures to a job's owner only; a role that watches
-- needs why a job fails, so this runs with its owner's rights, and reads nothing else.
create function ops.job_failures()
returns table (job_id integer, failed_at timestamptz, message text)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select distinct on (job_id) job_id, coalesce(finish_time, start_time), err_message
    from timescaledb_information.job_errors
    order by job_id, coalesce(finish_time, start_time) desc nulls last
$$;

revoke execute on function ops.job_failures() from public;

-- Drops all dashboards; the next migration makes them again. ALTER EXTENSION timescaledb UPDATE may
-- want to replace a view or a table that they read, and can't while they are there.
create procedure ops.drop_dashboards()
language plpgsql
set search_path = pg_catalog, pg_temp
set client_min_messages = warning
as $$
declare
    dashboard record;
begin
    for dashboard in select viewname from pg_views where schemaname = 'ops' loop
        execute format('drop view if exists ops.%I cascade', dashboard.viewname);
    end loop;
end
$$;

revoke execute on procedure ops.drop_dashboards() from public;

-- Lets tallymark_ops read what is in this schema, and will be; no right on anything else.
create procedure ops.grant_access()
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if to_regrole('tallymark_ops') is null then
        raise warning 'there is no role tallymark_ops: see docs/dashboards.md';
        return;
    end if;
    grant usage on schema ops to tallymark_ops;
    grant select on all tables in schema ops to tallymark_ops;
    alter default privileges in schema ops grant select on tables to tallymark_ops;
    grant execute on function ops.job_failures() to tallymark_ops;
end
$$;

revoke execute on procedure ops.grant_access() from public;

-- Roles are the whole server's: another database may have made this one, or be making it now.
do $$
begin
    create role tallymark_ops nologin;
exception
    when duplicate_object or unique_violation then
        null;
    when insufficient_privilege then
        raise warning 'the role tallymark_ops can''t be made: see docs/dashboards.md';
end
$$;

-- pg_stat_activity and pg_stat_statements show others' statements to members of pg_monitor only.
do $$
begin
    if to_regrole('tallymark_ops') is not null and not pg_has_role('tallymark_ops', 'pg_monitor', 'usage') then
        grant pg_monitor to tallymark_ops;
    end if;
exception
    when unique_violation then
        null;
    when insufficient_privilege then
        raise warning 'pg_monitor can''t be granted to tallymark_ops: see docs/dashboards.md';
end
$$;

call ops.grant_access();
