-- Retention: days of events go, their counts stay. See docs/retention.md.
--
-- In this order, and again from the start if anything stops it: every aggregate takes in what lies
-- below a border; the border is stored as retained_from; the chunks below it are dropped. TimescaleDB
-- then says of the dropped days that they are stale, and a refresh over them would empty the
-- aggregates: so below retained_from nothing counts as stale, and no refresh begins there.

-- The continuous aggregates of events, also those that are made of others, each after what it is made
-- of. From TimescaleDB's catalog, by text: see logged_changes().
create function event_aggregates()
returns table (mat_hypertable_id integer, name regclass, depth integer)
language sql stable rows 10
as $$
    with recursive aggregate as (
        select agg.mat_hypertable_id, agg.user_view_schema, agg.user_view_name, 1 as depth
        from _timescaledb_catalog.continuous_agg as agg
        join _timescaledb_catalog.hypertable as source on source.id = agg.raw_hypertable_id
        where source.schema_name = 'public' and source.table_name = 'events'
        union all
        select agg.mat_hypertable_id, agg.user_view_schema, agg.user_view_name, source.depth + 1
        from _timescaledb_catalog.continuous_agg as agg
        join aggregate as source on source.mat_hypertable_id = agg.raw_hypertable_id
    )
    select mat_hypertable_id, format('%I.%I', user_view_schema, user_view_name)::regclass, depth
    from aggregate
    order by depth, mat_hypertable_id
$$;

-- Procedures that commit can't pin a search_path: they name schemas instead.

-- A window of every aggregate, or what of it is kept. A refresh leaves its last transaction open, and
-- only its COMMIT tells the next aggregate what has changed.
create procedure refresh_aggregates(window_start timestamptz, window_end timestamptz)
language plpgsql
as $$
declare
    kept_start constant timestamptz := nullif(
        greatest(window_start, public.retained_from()), '-infinity'
    );
    aggregate  regclass;
begin
    foreach aggregate in array (select array_agg(name order by depth) from public.event_aggregates()) loop
        call public.refresh_continuous_aggregate(
            aggregate, kept_start, window_end, options => '{"buckets_per_batch": 43200}'
        );
        commit;
    end loop;
end
$$;

-- Days are refreshed whole, as the widest buckets are days; and a day more before them, since a window
-- must hold a whole bucket. What is still being written would only be stale again.
create procedure refresh_counts(
    range_start timestamptz default null,
    range_end   timestamptz default null
)
language plpgsql
as $$
declare
    day          constant interval := '24 hours';
    window_start constant timestamptz := pg_catalog.date_bin(day, range_start, 'epoch') - day;
    window_end   timestamptz := coalesce(range_end, pg_catalog.now());
begin
    if range_start >= window_end or window_end <= public.retained_from() then
        return;
    end if;
    window_end := least(
        pg_catalog.date_bin(day, window_end + day - interval '1 microsecond', 'epoch'),
        greatest(window_end, pg_catalog.now())
    );
    call public.refresh_aggregates(window_start, window_end);
end
$$;

comment on procedure refresh_counts(timestamptz, timestamptz) is
    'Refreshes every aggregate of events at once, after a backfill or a replay; null is an open end';

-- Keeps the refresh policies away from what is dropped, or may be soon: with a day to spare, since
-- one may have begun before the border moved. No months or days, whose length varies with the zone.
create function cut_refreshes(keep interval)
returns void
language plpgsql
set search_path = public, pg_temp
as $$
declare
    longest constant interval := nullif(
        least(keep - interval '24 hours', now() - retained_from()), 'infinity'
    );
    start_offset constant jsonb := coalesce(
        to_jsonb(make_interval(secs => extract(epoch from longest))), 'null'
    );
begin
    perform alter_job(job_id, config => config || jsonb_build_object('start_offset', start_offset))
    from timescaledb_information.jobs
    join event_aggregates() on mat_hypertable_id = (config ->> 'mat_hypertable_id')::integer
    where proc_name = 'policy_refresh_continuous_aggregate'
      and config -> 'start_offset' is distinct from start_offset;
end
$$;

-- Raises retained_from, if nothing below it is stale; returns whether it did. Writers wait outside
-- until it has committed: whatever was committed before it is counted. It does not wait long for one
-- of them, since the others wait behind it: then it fails with 55P03.
create function raise_retained_from(border timestamptz)
returns boolean
language plpgsql
set lock_timeout = '1s'
set search_path = public, pg_temp
as $$
begin
    lock table events in share row exclusive mode;
    if exists (select from stale_ranges where stale_from < least(border, stale_until)) then
        return false;
    end if;
    update retention set retained_from = border where retained_from < border;
    return true;
end
$$;

-- Drops the oldest chunks below retained_from, as many as one transaction has locks for; returns
-- whether there were any. Who reads one of them for long makes it fail with 55P03.
create function drop_oldest_events()
returns boolean
language plpgsql
set lock_timeout = '5s'
set search_path = public, pg_temp
as $$
declare
    oldest_end timestamptz;
begin
    select max(range_end) into oldest_end
    from (
        select range_end
        from timescaledb_information.chunks
        where hypertable_schema = 'public' and hypertable_name = 'events'
          and range_end <= retained_from()
        order by range_end
        limit 30
    ) as oldest;
    perform drop_chunks('public.events', older_than => oldest_end) where oldest_end is not null;
    return oldest_end is not null;
end
$$;

create procedure apply_retention(keep interval)
language plpgsql
as $$
declare
    border   constant timestamptz := pg_catalog.date_bin('24 hours', pg_catalog.now() - keep, 'epoch');
    attempts integer := 0;
begin
    perform public.require_long_retention(keep);
    perform public.cut_refreshes(keep);
    commit;
    while public.retained_from() < border loop
        call public.refresh_aggregates(null, border);
        attempts := attempts + 1;
        if not public.raise_retained_from(border) and attempts = 10 then
            raise exception 'events before % are being changed all the time', border
                using errcode = 'lock_not_available';
        end if;
        commit;
    end loop;
    while public.drop_oldest_events() loop
        commit;
    end loop;
    -- The policies begin up to two days later; and what is dropped is stale to its end, which
    -- TimescaleDB takes for a moment of the next day.
    call public.refresh_aggregates(null, public.retained_from() + interval '48 hours');
end
$$;

comment on procedure apply_retention(interval) is
    'Lets whole days (UTC) of events go that are older than this, keeping their counts; if it fails, call it again';

-- Less would meet events that may still come late, or days that are just becoming columns.
create function require_long_retention(keep interval)
returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    if keep < interval '9 days' then
        raise exception 'events are kept for 9 days at least' using errcode = 'invalid_parameter_value';
    end if;
end
$$;

create procedure retention_job(job_id integer, config jsonb)
language plpgsql
as $$
begin
    call public.apply_retention((config ->> 'keep')::interval);
end
$$;

-- The first run is an hour after a change, which leaves time to notice a mistake.
create function schedule_retention(keep interval)
returns void
language plpgsql
set search_path = public, pg_temp
as $$
declare
    wanted constant jsonb := jsonb_build_object('keep', keep);
    first  constant timestamptz := now() + interval '1 hour';
    job    record;
begin
    perform require_long_retention(keep);
    lock table retention in share row exclusive mode;
    perform cut_refreshes(keep);
    select job_id, config into job
    from timescaledb_information.jobs
    where proc_schema = 'public' and proc_name = 'retention_job';
    if keep is null then
        perform delete_job(job.job_id) where job.job_id is not null;
    elsif job.job_id is null then
        perform add_job('public.retention_job', interval '1 day', wanted, initial_start => first);
    elsif job.config <> wanted then
        perform alter_job(job.job_id, config => wanted, next_start => first);
    end if;
end
$$;

comment on function schedule_retention(interval) is
    'Lets apply_retention() run daily, from an hour after a change on; null ends that, and brings nothing back';
