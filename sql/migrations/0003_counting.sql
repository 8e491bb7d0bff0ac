-- Exact counts of any range: what is materialized and not stale, coarsest first, and events for the
-- rest. See docs/counting.md.

-- What each aggregate has not taken in yet, by TimescaleDB's own record, which is written in the
-- transaction of each change and cleared in the transaction that refreshes the bucket. It covers
-- what was never refreshed and all that is newer, too. Its ends are -2^63 and 2^63-1; values below
-- PostgreSQL's first timestamp (-210866803200000000) stand for the former.
create view event_counts_stale as
with aggregate as (
    select user_view_name as view_name, raw_hypertable_id, mat_hypertable_id
    from _timescaledb_catalog.continuous_agg
    where user_view_schema = 'public'
      and user_view_name in ('event_counts_minute', 'event_counts_quarter_hour', 'event_counts_daily')
), change as (
    select view_name, lowest_modified_value as lowest, greatest_modified_value as greatest
    from _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log
    join aggregate on hypertable_id = raw_hypertable_id
    union all
    select view_name, lowest_modified_value, greatest_modified_value
    from _timescaledb_catalog.continuous_aggs_materialization_invalidation_log
    join aggregate on materialization_id = mat_hypertable_id
    union all
    select view_name, lowest_modified_value, greatest_modified_value
    from _timescaledb_catalog.continuous_aggs_materialization_ranges
    join aggregate on materialization_id = mat_hypertable_id
)
select
    view_name,
    case when lowest < -210866803200000000 then '-infinity'
         else _timescaledb_functions.to_timestamp(lowest) end as stale_from,
    case when greatest < -210866803200000000 then '-infinity'
         when greatest = 9223372036854775807 then 'infinity'
         else _timescaledb_functions.to_timestamp(greatest + 1) end as stale_until
from change;

comment on view event_counts_stale is
    'Ranges [stale_from, stale_until) that an aggregate has not taken in yet';

-- The smallest range of whole buckets around a range. A day is written as 24 hours here: adding
-- '1 day' would be an hour off where the session's time zone changes its clocks.
create function buckets_around(width interval, lowest timestamptz, highest timestamptz)
returns tstzrange
language sql immutable parallel safe
return tstzrange(
    date_bin(width, lowest, 'epoch'),
    date_bin(width, highest + width - interval '1 microsecond', 'epoch')
);

-- The whole buckets within each range of a set of ranges.
create function buckets_within(width interval, ranges tstzmultirange)
returns tstzmultirange
language sql immutable parallel safe
return (
    select coalesce(range_agg(tstzrange(first_bucket, last_end)), '{}')
    from (
        select
            date_bin(width, lower(r) + width - interval '1 microsecond', 'epoch') as first_bucket,
            date_bin(width, upper(r), 'epoch') as last_end
        from unnest(ranges) as r
    ) as whole
    where first_bucket < last_end
);

-- The buckets of each level that can't be trusted in a range: those where an aggregate of that level,
-- or of one below it, is stale. One statement, so that all of it is of one moment; its plan is kept
-- (planning it would cost more than all the rest of a count).
create function stale_buckets(
    range_start       timestamptz,
    range_end         timestamptz,
    out days          tstzmultirange,
    out quarter_hours tstzmultirange,
    out minutes       tstzmultirange
)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set search_path = public, pg_temp
as $$
begin
    select
        coalesce(range_agg(buckets_around('24 hours', stale_from, stale_until)), '{}'),
        coalesce(range_agg(buckets_around('15 minutes', stale_from, stale_until))
            filter (where view_name <> 'event_counts_daily'), '{}'),
        coalesce(range_agg(buckets_around('1 minute', stale_from, stale_until))
            filter (where view_name = 'event_counts_minute'), '{}')
    into days, quarter_hours, minutes
    from event_counts_stale
    where stale_from < range_end and stale_until > range_start;
end
$$;

-- Counts of parts of [range_start, range_end): several rows a type, to be added up.
--
-- VOLATILE on purpose: in READ COMMITTED each statement then plans before it takes its snapshot.
-- A STABLE function, with one older snapshot, misses rows while a chunk becomes columns. What is
-- stale is read first, in one statement; each piece is then counted by a statement of its own with
-- constant bounds, so that the planner excludes chunks (within one statement, over a set of pieces,
-- it cannot). A piece of a level may have stale buckets in it: it passes over them, since a
-- statement more costs more than some rows more.
create function event_counts_parts(range_start timestamptz, range_end timestamptz, site smallint)
returns table (event_type event_type, event_count bigint)
language plpgsql volatile
set plan_cache_mode = force_custom_plan
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    rest        tstzmultirange := '{}';
    stale       record;
    whole       tstzmultirange;
    piece       tstzrange;
    piece_start timestamptz;
    piece_end   timestamptz;
begin
    if range_start < range_end then
        rest := tstzmultirange(tstzrange(range_start, range_end));
    end if;
    stale := stale_buckets(range_start, range_end);

    whole := buckets_within('24 hours', rest);
    for piece in select r from unnest(whole) as r where not r <@ stale.days loop
        piece_start := lower(piece);
        piece_end := upper(piece);
        return query
            select event_type, sum(event_count)::bigint
            from event_counts_daily
            where bucket >= piece_start and bucket < piece_end and site_id = site
              and not bucket <@ stale.days
            group by event_type;
    end loop;
    rest := rest - (whole - stale.days);

    whole := buckets_within('15 minutes', rest);
    for piece in select r from unnest(whole) as r where not r <@ stale.quarter_hours loop
        piece_start := lower(piece);
        piece_end := upper(piece);
        return query
            select event_type, sum(event_count)::bigint
            from event_counts_quarter_hour
            where bucket >= piece_start and bucket < piece_end and site_id = site
              and not bucket <@ stale.quarter_hours
            group by event_type;
    end loop;
    rest := rest - (whole - stale.quarter_hours);

    whole := buckets_within('1 minute', rest);
    for piece in select r from unnest(whole) as r where not r <@ stale.minutes loop
        piece_start := lower(piece);
        piece_end := upper(piece);
        return query
            select event_type, sum(event_count)::bigint
            from event_counts_minute
            where bucket >= piece_start and bucket < piece_end and site_id = site
              and not bucket <@ stale.minutes
            group by event_type;
    end loop;
    rest := rest - (whole - stale.minutes);

    for piece in select unnest(rest) loop
        piece_start := lower(piece);
        piece_end := upper(piece);
        return query
            select event_type, count(*)
            from events
            where timestamp >= piece_start and timestamp < piece_end and site_id = site
            group by event_type;
    end loop;
end
$$;

create function event_counts(
    range_start timestamptz default '-infinity',
    range_end   timestamptz default 'infinity',
    site        smallint    default 1
)
returns table (event_type event_type, event_count bigint)
language sql volatile
begin atomic
    select part.event_type, sum(part.event_count)::bigint
    from event_counts_parts(
        coalesce(range_start, '-infinity'), coalesce(range_end, 'infinity'), coalesce(site, 1::smallint)
    ) as part
    group by part.event_type
    order by part.event_type;
end;

comment on function event_counts(timestamptz, timestamptz, smallint) is
    'Exact counts by type of the events in [range_start, range_end); types with none are left out. A null bound is an open end';
