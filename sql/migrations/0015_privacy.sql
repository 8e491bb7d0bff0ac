-- What is kept of one user id: found, and erased. See docs/privacy.md.
--
-- These functions run with the rights of their owner, for the role tallymark_privacy: it can erase a
-- user, by a transaction after the other, and delete nothing else.

-- Erases at most so many of a user's events in a range, the oldest first, and returns how many these
-- were. TimescaleDB records what is stale in the same transaction, so that counts stay exact. Rows are
-- deleted one by one: in a chunk of columns only what lies around each is made rows again.
create function erase_user_events(
    erased_user text,
    range_start timestamptz,
    range_end   timestamptz,
    site        smallint,
    most        integer
)
returns integer
language plpgsql volatile security definer
set plan_cache_mode = force_custom_plan
set timescaledb.max_tuples_decompressed_per_dml_transaction = 0
set search_path = pg_catalog, public, pg_temp
as $$
declare
    moments timestamptz[];
    ids     uuid[];
    erased  integer := 0;
    deleted integer;
begin
    select array_agg(found.timestamp), array_agg(found.event_id) into moments, ids
    from (
        select events.timestamp, events.event_id
        from events
        where user_id = erased_user and events.timestamp >= range_start and events.timestamp < range_end
          and (site is null or site_id = site)
        order by events.timestamp
        limit most
    ) as found;
    for place in 1 .. coalesce(cardinality(ids), 0) loop
        delete from events
        where timestamp = moments[place] and event_id = ids[place] and user_id = erased_user
          and (site is null or site_id = site);
        get diagnostics deleted = row_count;
        erased := erased + deleted;
    end loop;
    return erased;
end
$$;

-- Where retention let a user's events go, the aggregates still know the id, and can't be made anew. An
-- alias takes its place, by which nobody is known: so all counts stay what they were, active users
-- too. In one transaction, so that a user has one alias. Returns how many rows have it.
create function alias_user(erased_user text, site smallint)
returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
    alias   constant text := 'erased-' || gen_random_uuid();
    level   record;
    renamed integer := 0;
    rows    integer;
begin
    for level in
        select materialization_hypertable_schema as schema, materialization_hypertable_name as name
        from timescaledb_information.continuous_aggregates
        where view_schema = 'public' and view_name in ('users_quarter_hour', 'users_daily')
    loop
        execute format(
            'update %I.%I set user_id = $1 where user_id = $2 and bucket < $3 and ($4 is null or site_id = $4)',
            level.schema, level.name
        ) using alias, erased_user, retained_from(), site;
        get diagnostics rows = row_count;
        renamed := renamed + rows;
    end loop;
    return renamed;
end
$$;

-- What a refused event's body says of its user; it begins as the service writes it (rejected_events).
create function is_of_user(body bytea, wanted text)
returns boolean
language sql immutable parallel safe
return position(
    convert_to('"user_id":' || to_json(wanted) || ',"event_type":', 'UTF8')
    in substring(body from 52)
) = 1;

create function user_rejects(wanted text, site smallint)
returns setof rejected_events
language sql stable security definer
set search_path = pg_catalog, public, pg_temp
as $$
    select * from rejected_events
    where is_of_user(body, wanted) and (site is null or site_id = site)
    order by rejected_at, event_id
$$;

create function erase_user_rejects(erased_user text, site smallint)
returns integer
language sql volatile security definer
set search_path = pg_catalog, public, pg_temp
as $$
    with erased as (
        delete from rejected_events
        where is_of_user(body, erased_user) and (site is null or site_id = site)
        returning 1
    )
    select count(*)::integer from erased
$$;

revoke execute on function
    erase_user_events(text, timestamptz, timestamptz, smallint, integer),
    alias_user(text, smallint),
    user_rejects(text, smallint),
    erase_user_rejects(text, smallint)
from public;

create procedure grant_privacy_access()
language plpgsql
set search_path = public, pg_temp
as $$
begin
    if to_regrole('tallymark_privacy') is null then
        raise warning 'there is no role tallymark_privacy: see docs/privacy.md';
        return;
    end if;
    grant select on events to tallymark_privacy;
    grant execute on function
        erase_user_events(text, timestamptz, timestamptz, smallint, integer),
        alias_user(text, smallint),
        user_rejects(text, smallint),
        erase_user_rejects(text, smallint),
        hasten_refreshes()
    to tallymark_privacy;
end
$$;

revoke execute on procedure grant_privacy_access() from public;

-- Roles are the whole server's: another database may have made this one, or be making it now.
do $$
begin
    create role tallymark_privacy nologin;
exception
    when duplicate_object or unique_violation then
        null;
    when insufficient_privilege then
        raise warning 'the role tallymark_privacy can''t be made: see docs/privacy.md';
end
$$;

call grant_privacy_access();
