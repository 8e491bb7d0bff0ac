-- Counts of a range in one pass, cut at any edges: event_counts() and, by bucket of a calendar,
-- event_counts_over_time(). See docs/counting.md.

-- A plan over a level is kept, and locks all of its chunks: let there be few of them.
do $$
begin
    perform set_chunk_time_interval(
        format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name),
        interval '1 year'
    )
    from timescaledb_information.continuous_aggregates
    where view_schema = 'public' and view_name = 'event_counts_minute';
end
$$;

-- A minute is taken in as soon as it is over and its last events are committed: until then its rows
-- are counted. What commits later only makes it stale again.
select alter_job(job_id, config => config || jsonb_build_object('end_offset', end_offset))
from timescaledb_information.jobs
join (
    values
        ('event_counts_minute', '5 seconds'),
        ('event_counts_quarter_hour', '1 minute'),
        ('event_counts_daily', '15 minutes')
) as policy (view_name, end_offset) on hypertable_name = view_name
where proc_name = 'policy_refresh_continuous_aggregate' and hypertable_schema = 'public';

-- Retention (0007) lets events go and keeps their counts: what lies before retained_from is never
-- stale, though TimescaleDB says so of what is dropped.
create table retention (
    only_row      boolean     primary key default true check (only_row),
    retained_from timestamptz not null default '-infinity'
);

comment on table retention is
    'One row: events before retained_from are not kept any more, and their counts never change';

insert into retention default values;

-- Whoever may read the views below, and those of the dashboards, reads it with the rights of their own.
grant select on retention to public;

create function retained_from()
returns timestamptz
language sql stable parallel safe
return (select retained_from from public.retention);

comment on function retained_from() is
    'Events before it are not kept any more, and their counts never change; -infinity while all are kept';

-- TimescaleDB's record of what each aggregate has not taken in. The body is text, so that no view
-- depends on TimescaleDB's catalog: ALTER EXTENSION timescaledb UPDATE may replace its tables.
-- What lies below retained_from stays in the record for ever, an entry for each drop, so it is left
-- out before anything else is done with it.
create function logged_changes()
returns table (view_name name, first bigint, last bigint)
language sql stable rows 20
as $$
    select user_view_name, lowest_modified_value, greatest_modified_value
    from _timescaledb_catalog.continuous_agg
    join _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log
        on hypertable_id = raw_hypertable_id
    where user_view_schema = 'public' and greatest_modified_value >= (
        select _timescaledb_functions.to_unix_microseconds(retained_from) from public.retention
    )
    union all
    select user_view_name, lowest_modified_value, greatest_modified_value
    from _timescaledb_catalog.continuous_agg
    join _timescaledb_catalog.continuous_aggs_materialization_invalidation_log
        on materialization_id = mat_hypertable_id
    where user_view_schema = 'public' and greatest_modified_value >= (
        select _timescaledb_functions.to_unix_microseconds(retained_from) from public.retention
    )
    union all
    select user_view_name, lowest_modified_value, greatest_modified_value
    from _timescaledb_catalog.continuous_agg
    join _timescaledb_catalog.continuous_aggs_materialization_ranges
        on materialization_id = mat_hypertable_id
    where user_view_schema = 'public' and greatest_modified_value >= (
        select _timescaledb_functions.to_unix_microseconds(retained_from) from public.retention
    )
$$;

-- Its ends are -2^63 and 2^63-1; values below PostgreSQL's first timestamp (-210866803200000000)
-- stand for the former.
create view stale_ranges as
select
    view_name,
    greatest(
        case when first < -210866803200000000 then '-infinity'
             else _timescaledb_functions.to_timestamp(first) end,
        (select retained_from from retention)
    ) as stale_from,
    case when last < -210866803200000000 then '-infinity'
         when last = 9223372036854775807 then 'infinity'
         else _timescaledb_functions.to_timestamp(last + 1) end as stale_until
from logged_changes();

comment on view stale_ranges is
    'Ranges [stale_from, stale_until) that an aggregate has not taken in yet, but for what retention let go';

create or replace view event_counts_stale as
select view_name, stale_from, stale_until
from stale_ranges
where view_name in ('event_counts_minute', 'event_counts_quarter_hour', 'event_counts_daily');

-- The buckets that have an edge within them: none of them can be taken whole.
create function buckets_cut(width interval, edges timestamptz[])
returns tstzmultirange
language sql immutable parallel safe
return (
    select coalesce(range_agg(tstzrange(bucket, bucket + width)), '{}')
    from unnest(edges) as edge
    cross join lateral date_bin(width, edge, 'epoch') as bucket
    where bucket <> edge
);

-- Raises TM001 when a piece of time that is to be counted by its events begins where they are not kept
-- any more; `finest` is the width of the finest buckets that are left to count by. To be called after
-- the events were read: what is dropped meanwhile was below retained_from before.
create function require_events(pieces tstzmultirange, finest interval)
returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    border  constant timestamptz := (select retained_from from retention);
    minutes constant integer := extract(epoch from finest) / 60;
begin
    if lower(pieces) < border then
        raise exception 'events before % are not kept',
            to_char(border at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            using errcode = 'TM001',
                detail = format('%s minute%s', minutes, case when minutes <> 1 then 's' end),
                hint = format('Before that, let ranges begin and end at multiples of %s min.', minutes);
    end if;
end
$$;

-- The part that a moment is in: how many edges are not after it. Where a plan knows that there are no
-- edges, nothing is left of this, and rows are grouped by less.
create function part_at(moment timestamptz, edges timestamptz[])
returns integer
language sql immutable parallel safe
return case when edges = '{}' then 0 else width_bucket(moment, edges) end;

-- Counts of the events in pieces of time, by part. Pieces that begin on one day are one statement, with
-- constant bounds for the planner to exclude chunks by (with the pieces alone it cannot); each is
-- grouped by itself, since rows that are passed on cost a fifth more.
create function event_counts_raw(pieces tstzmultirange, edges timestamptz[], site smallint)
returns table (part integer, event_type event_type, event_count bigint)
language plpgsql volatile
set plan_cache_mode = force_custom_plan
set enable_seqscan = on
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    day       record;
    day_start timestamptz;
    day_end   timestamptz;
begin
    for day in
        select array_agg(piece) as pieces, min(lower(piece)) as first, max(upper(piece)) as last
        from unnest(pieces) as piece
        group by date_bin('24 hours', lower(piece), 'epoch')
    loop
        day_start := day.first;
        day_end := day.last;
        if cardinality(day.pieces) = 1 then
            return query
                select part_at(timestamp, edges), event_type, count(*)
                from events
                where timestamp >= day_start and timestamp < day_end and site_id = site
                group by 1, 2;
        else
            return query
                select counted.*
                from unnest(day.pieces) as piece
                cross join lateral (
                    select part_at(timestamp, edges), event_type, count(*)
                    from events
                    where timestamp >= day_start and timestamp < day_end and site_id = site
                      and timestamp >= lower(piece) and timestamp < upper(piece)
                    group by 1, 2
                ) as counted;
        end if;
    end loop;
    perform require_events(pieces, interval '1 minute');
end
$$;

drop function event_counts(timestamptz, timestamptz, smallint);
drop function event_counts_parts(timestamptz, timestamptz, smallint);

-- Counts of parts of [range_start, range_end), several rows a part and type, to be added up.
--
-- VOLATILE on purpose: in READ COMMITTED each statement then plans before it takes its snapshot.
-- A STABLE function, with one older snapshot, misses rows while a chunk becomes columns. What is
-- stale is read first, in one statement.
--
-- Plans over the levels are kept, whatever the bounds: planning would cost more than reading. The
-- lateral subquery and enable_seqscan see to it that each piece is looked up by an index, also by
-- a plan that was made while a level was small.
create function event_counts_parts(
    range_start timestamptz,
    range_end   timestamptz,
    edges       timestamptz[],
    site        smallint
)
returns table (part integer, event_type event_type, event_count bigint)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    rest          tstzmultirange := '{}';
    days          tstzmultirange;
    quarter_hours tstzmultirange;
    minutes       tstzmultirange;
    stale         record;
begin
    if range_start < range_end then
        rest := tstzmultirange(tstzrange(range_start, range_end));
    end if;
    stale := stale_buckets(range_start, range_end);
    days := buckets_within('24 hours', rest) - stale.days - buckets_cut('24 hours', edges);
    rest := rest - days;
    quarter_hours := buckets_within('15 minutes', rest) - stale.quarter_hours
        - buckets_cut('15 minutes', edges);
    rest := rest - quarter_hours;
    minutes := buckets_within('1 minute', rest) - stale.minutes - buckets_cut('1 minute', edges);
    rest := rest - minutes;

    return query
        select width_bucket(bucket, edges), event_type, sum(event_count)::bigint
        from (
            select level.*
            from unnest(days) as piece
            cross join lateral (
                select bucket, event_type, event_count
                from event_counts_daily
                where bucket >= lower(piece) and bucket < upper(piece) and site_id = site
                offset 0
            ) as level
            union all
            select level.*
            from unnest(quarter_hours) as piece
            cross join lateral (
                select bucket, event_type, event_count
                from event_counts_quarter_hour
                where bucket >= lower(piece) and bucket < upper(piece) and site_id = site
                offset 0
            ) as level
            union all
            select level.*
            from unnest(minutes) as piece
            cross join lateral (
                select bucket, event_type, event_count
                from event_counts_minute
                where bucket >= lower(piece) and bucket < upper(piece) and site_id = site
                offset 0
            ) as level
        ) as levels
        group by 1, 2;
    if not isempty(rest) then
        return query select part, event_type, event_count from event_counts_raw(rest, edges, site);
    end if;
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
        coalesce(range_start, '-infinity'), coalesce(range_end, 'infinity'), '{}',
        coalesce(site, 1::smallint)
    ) as part
    group by part.event_type
    order by part.event_type;
end;

comment on function event_counts(timestamptz, timestamptz, smallint) is
    'Exact counts by type of the events in [range_start, range_end); types with none are left out. A null bound is an open end';

-- The first instant at which a zone's clocks show a local time or a later one. In a fold that is
-- the earlier of two; in a gap it is the gap's end, which is found by bisection to the second.
create function first_instant(local timestamp, tz text)
returns timestamptz
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    before timestamptz := local at time zone 'UTC' - interval '24 hours';
    after  timestamptz := local at time zone 'UTC' + interval '24 hours';
    middle timestamptz;
    found  timestamptz;
begin
    select min(candidate) into found
    from (values (before), (after)) as around (moment)
    cross join lateral (
        select local at time zone 'UTC' - (moment at time zone tz - moment at time zone 'UTC')
    ) as shifted (candidate)
    where candidate at time zone tz = local;
    if found is not null then
        return found;
    end if;
    while after - before > interval '1 second' loop
        middle := date_trunc('second', before + (after - before) / 2);
        if middle at time zone tz >= local then
            after := middle;
        else
            before := middle;
        end if;
    end loop;
    return after;
end
$$;

-- Where buckets of a calendar begin, around [range_start, range_end): one at least is not after
-- range_start. Hours are those of the zone's clocks; in a fold an hour comes twice.
create function calendar_starts(
    bucket_width text, range_start timestamptz, range_end timestamptz, tz text
)
returns setof timestamptz
language plpgsql immutable parallel safe rows 1000
set search_path = pg_catalog, public, pg_temp
as $$
declare
    width interval;
begin
    case bucket_width
        when 'minute', 'quarter_hour' then
            width := case bucket_width when 'minute' then '1 minute' else '15 minutes' end;
            return query select generate_series(
                date_bin(width, range_start, 'epoch'), range_end, width
            );
        when 'hour' then
            return query
                select quarter
                from generate_series(
                    date_bin('15 minutes', range_start, 'epoch') - interval '2 hours',
                    range_end,
                    interval '15 minutes'
                ) as quarter
                cross join lateral (
                    select quarter at time zone tz as local,
                           (quarter - interval '15 minutes') at time zone tz as earlier
                ) as clock
                where date_trunc('hour', local) <> date_trunc('hour', earlier) or local < earlier;
        when 'day', 'week', 'month' then
            width := '1 ' || bucket_width;
            return query
                select distinct first_instant(local, tz)
                from generate_series(
                    date_trunc(bucket_width, range_start at time zone tz) - width,
                    range_end at time zone tz,
                    width
                ) as local;
        else
            raise exception 'bucket_width must be minute, quarter_hour, hour, day, week or month, not %', bucket_width
                using errcode = 'invalid_parameter_value';
    end case;
end
$$;

-- The starts of the buckets that [range_start, range_end) touches, in order.
create function bucket_starts(
    bucket_width text, range_start timestamptz, range_end timestamptz, tz text
)
returns timestamptz[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, public, pg_temp
as $$
declare
    most   constant integer := 10000;
    widest constant interval := case bucket_width
        when 'minute' then '1 minute'
        when 'quarter_hour' then '15 minutes'
        when 'hour' then '2 hours'
        when 'day' then '26 hours'
        when 'week' then '8 days'
        else '32 days'
    end;
    starts timestamptz[] := '{}';
begin
    if (range_start < range_end) is not true then
        return starts;
    end if;
    if isfinite(range_start) and isfinite(range_end) and range_end <= range_start + most * widest then
        with start (moment) as (
            select calendar_starts(bucket_width, range_start, range_end, tz)
        )
        select array_agg(moment order by moment) into starts
        from start
        where moment < range_end
          and moment >= (select max(moment) from start where moment <= range_start);
    end if;
    if cardinality(starts) between 1 and most then
        return starts;
    end if;
    raise exception 'the range has more than % buckets of this width', most
        using errcode = 'TM002', hint = 'Ask for a shorter range, or for wider buckets.';
end
$$;

-- The first event's time, but for those in the days that the daily counts have right: the start of
-- the first of these, if that is earlier. Null when there is none.
create function first_event(site smallint)
returns timestamptz
language plpgsql volatile
set plan_cache_mode = force_custom_plan
set search_path = public, pg_temp
as $$
declare
    earliest timestamptz := (select min(bucket) from event_counts_daily where site_id = site);
    piece    tstzrange;
    found    timestamptz;
begin
    for piece in
        select range from unnest((stale_buckets('-infinity', 'infinity')).days) as range
    loop
        exit when lower(piece) >= earliest;
        select min(timestamp) into found
        from events
        where timestamp >= lower(piece) and timestamp < upper(piece) and site_id = site;
        earliest := least(earliest, found);
    end loop;
    return earliest;
end
$$;

-- The range that is meant where an end is open: it starts at the first event (see first_event()), or
-- at null where there is none, and ends now, or behind the last event if that is later.
create function closed_range(
    range_start timestamptz, range_end timestamptz, site smallint,
    out first timestamptz, out behind timestamptz
)
language plpgsql volatile
set plan_cache_mode = force_custom_plan
set search_path = public, pg_temp
as $$
begin
    first := nullif(range_start, '-infinity');
    if first is null then
        first := first_event(site);
    end if;
    behind := nullif(range_end, 'infinity');
    if behind is null then
        behind := now();
        select greatest(behind, max(timestamp)) + interval '1 microsecond' into behind
        from events
        where timestamp > behind and site_id = site;
    end if;
end
$$;

-- Exact counts by bucket and type; a bucket with nothing is 0.
create function event_counts_over_time(
    bucket_width text,
    range_start  timestamptz default null,
    range_end    timestamptz default null,
    tz           text        default 'UTC',
    site         smallint    default 1
)
returns table (bucket timestamptz, event_type event_type, event_count bigint)
language plpgsql volatile
set plan_cache_mode = force_custom_plan
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    at_site constant smallint := coalesce(site, 1);
    closed  record;
    starts  timestamptz[];
begin
    closed := closed_range(range_start, range_end, at_site);
    starts := bucket_starts(bucket_width, closed.first, closed.behind, tz);
    return query
        select starts[number], type, coalesce(sum(part.event_count), 0)::bigint
        from generate_subscripts(starts, 1) as number
        cross join unnest(enum_range(null::event_type)) as type
        left join event_counts_parts(closed.first, closed.behind, starts[2:], at_site) as part
            on part.part = number - 1 and part.event_type = type
        group by 1, 2
        order by 1, 2;
end
$$;

comment on function event_counts_over_time(text, timestamptz, timestamptz, text, smallint) is
    'Exact counts by bucket (minute, quarter_hour, hour, day, week from Monday, month; days and hours of tz) and type, of the events in [range_start, range_end); the first and last bucket are cut at its ends';
