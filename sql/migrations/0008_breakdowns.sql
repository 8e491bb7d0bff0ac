-- What is counted by more than its type: views by page, clicks by element, and users. Exact at every
-- moment, as event_counts() is. See docs/breakdowns.md.

-- The path of a URL: what is between its host and its query or fragment, with a slash before it. Paths
-- that agree in 512 characters are one. None of the levels below has an index on it, so that
-- nothing depends on how many bytes it has.
create function page_path(url text)
returns text
language sql immutable parallel safe
return left('/' || regexp_replace(
    split_part(split_part(url, '#', 1), '?', 1), '^(([a-z][a-z0-9+.-]*:)?//[^/]*)?/?', '', 'i'
), 512);

comment on function page_path(text) is
    'The path of a URL, without scheme, host, query and fragment, cut to 512 characters';

-- By what an element is known: the first of these that a click tells. Null where it tells none.
create function clicked_element(payload jsonb)
returns text
language sql immutable parallel safe
return left(coalesce(
    nullif(payload ->> 'element_id', ''), nullif(payload ->> 'xpath', ''), nullif(payload ->> 'text', '')
), 512);

comment on function clicked_element(jsonb) is
    'The element_id of a click, else its xpath, else its text, cut to 512 characters';

-- Two levels each: the quarter hours read events, the days read the quarter hours. They are not
-- real-time, and their policies are as they are, for the reasons in 0002_event_counts.sql.

create materialized view page_views_quarter_hour
with (
    timescaledb.continuous,
    timescaledb.materialized_only = true,
    timescaledb.create_group_indexes = false,
    timescaledb.chunk_interval = '1 year'
) as
select
    site_id,
    page_path(payload ->> 'url') as path,
    time_bucket('15 minutes', timestamp) as bucket,
    count(*) as view_count
from events
where event_type = 'view' and payload ->> 'url' is not null
group by site_id, page_path(payload ->> 'url'), time_bucket('15 minutes', timestamp)
with no data;

create materialized view page_views_daily
with (
    timescaledb.continuous,
    timescaledb.materialized_only = true,
    timescaledb.create_group_indexes = false,
    timescaledb.chunk_interval = '10 years'
) as
select
    site_id,
    path,
    time_bucket('1 day', bucket) as bucket,
    sum(view_count)::bigint as view_count
from page_views_quarter_hour
group by site_id, path, time_bucket('1 day', bucket)
with no data;

create materialized view element_clicks_quarter_hour
with (
    timescaledb.continuous,
    timescaledb.materialized_only = true,
    timescaledb.create_group_indexes = false,
    timescaledb.chunk_interval = '1 year'
) as
select
    site_id,
    clicked_element(payload) as element,
    time_bucket('15 minutes', timestamp) as bucket,
    count(*) as click_count
from events
where event_type = 'click' and clicked_element(payload) is not null
group by site_id, clicked_element(payload), time_bucket('15 minutes', timestamp)
with no data;

create materialized view element_clicks_daily
with (
    timescaledb.continuous,
    timescaledb.materialized_only = true,
    timescaledb.create_group_indexes = false,
    timescaledb.chunk_interval = '10 years'
) as
select
    site_id,
    element,
    time_bucket('1 day', bucket) as bucket,
    sum(click_count)::bigint as click_count
from element_clicks_quarter_hour
group by site_id, element, time_bucket('1 day', bucket)
with no data;

create materialized view users_quarter_hour
with (
    timescaledb.continuous,
    timescaledb.materialized_only = true,
    timescaledb.create_group_indexes = false,
    timescaledb.chunk_interval = '1 year'
) as
select site_id, user_id, time_bucket('15 minutes', timestamp) as bucket, count(*) as event_count
from events
group by site_id, user_id, time_bucket('15 minutes', timestamp)
with no data;

create materialized view users_daily
with (
    timescaledb.continuous,
    timescaledb.materialized_only = true,
    timescaledb.create_group_indexes = false,
    timescaledb.chunk_interval = '10 years'
) as
select
    site_id,
    user_id,
    time_bucket('1 day', bucket) as bucket,
    sum(event_count)::bigint as event_count
from users_quarter_hour
group by site_id, user_id, time_bucket('1 day', bucket)
with no data;

-- Where several sites are counted, each reads its own rows only; the index that is there by itself
-- is on the bucket alone.
do $$
declare
    aggregate record;
begin
    for aggregate in
        select view_name, schemaname as schema, indexname as bucket_index
        from timescaledb_information.continuous_aggregates
        join pg_indexes
            on schemaname = materialization_hypertable_schema
            and tablename = materialization_hypertable_name
        where view_schema = 'public' and view_name ~ '^(page_views|element_clicks|users)_'
    loop
        execute format('drop index %I.%I', aggregate.schema, aggregate.bucket_index);
        execute format('create index on %I (bucket, site_id)', aggregate.view_name);
    end loop;
end
$$;

-- A batch is a month of quarter hours: what a first refresh of many events has done, it keeps.
select
    add_continuous_aggregate_policy(
        (family || '_quarter_hour')::regclass,
        start_offset => null,
        end_offset => interval '1 minute',
        schedule_interval => interval '1 minute',
        buckets_per_batch => 2880
    ),
    add_continuous_aggregate_policy(
        (family || '_daily')::regclass,
        start_offset => null,
        end_offset => interval '15 minutes',
        schedule_interval => interval '5 minutes',
        buckets_per_batch => 43200
    )
from unnest(array['page_views', 'element_clicks', 'users']) as family;

-- The parts of [range_start, range_end) that each level of a family of aggregates has right, and of
-- which events must be read. What is stale is read in one statement, so that all of it is of one
-- moment; its plan is kept. No bucket that has an edge within it is taken whole.
create function trusted_pieces(
    family            text,
    range_start       timestamptz,
    range_end         timestamptz,
    edges             timestamptz[],
    out days          tstzmultirange,
    out quarter_hours tstzmultirange,
    out raw           tstzmultirange
)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set search_path = public, pg_temp
as $$
declare
    stale_days          tstzmultirange;
    stale_quarter_hours tstzmultirange;
begin
    select
        coalesce(range_agg(buckets_around('24 hours', stale_from, stale_until)), '{}'),
        coalesce(range_agg(buckets_around('15 minutes', stale_from, stale_until))
            filter (where view_name = family || '_quarter_hour'), '{}')
    into stale_days, stale_quarter_hours
    from stale_ranges
    where view_name in (family || '_quarter_hour', family || '_daily')
      and stale_from < range_end and stale_until > range_start;

    raw := '{}';
    if range_start < range_end then
        raw := tstzmultirange(tstzrange(range_start, range_end));
    end if;
    days := buckets_within('24 hours', raw) - stale_days - buckets_cut('24 hours', edges);
    raw := raw - days;
    quarter_hours := buckets_within('15 minutes', raw) - stale_quarter_hours
        - buckets_cut('15 minutes', edges);
    raw := raw - quarter_hours;
end
$$;

-- What a family counts by, from the events in pieces of time (see event_counts_raw()); a key comes once
-- for each day that pieces begin on.
create function breakdown_raw(family text, pieces tstzmultirange, site smallint)
returns table (key text, event_count bigint)
language plpgsql volatile
set plan_cache_mode = force_custom_plan
set enable_seqscan = on
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    types event_type[] := case family
        when 'page_views' then array['view']
        when 'element_clicks' then array['click']
        else enum_range(null::event_type)::text[]
    end;
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
        return query
            select key, count(*)
            from unnest(day.pieces) as piece
            cross join lateral (
                select
                    case family
                        when 'page_views' then page_path(payload ->> 'url')
                        when 'element_clicks' then clicked_element(payload)
                        else user_id
                    end as key
                from events
                where timestamp >= day_start and timestamp < day_end and site_id = site
                  and event_type = any (types)
                  and timestamp >= lower(piece) and timestamp < upper(piece)
                offset 0
            ) as event
            where key is not null
            group by key;
    end loop;
    perform require_events(pieces, interval '15 minutes');
end
$$;

-- VOLATILE, with plans that are kept and look each piece up by an index: see event_counts_parts().
create function top_pages(
    range_start timestamptz default '-infinity',
    range_end   timestamptz default 'infinity',
    site        smallint    default 1,
    most        integer     default 10
)
returns table (path text, view_count bigint)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    at_site constant smallint := coalesce(site, 1);
    pieces  record;
begin
    pieces := trusted_pieces(
        'page_views', coalesce(range_start, '-infinity'), coalesce(range_end, 'infinity'), '{}'
    );
    return query
        select path, sum(view_count)::bigint
        from (
            select path, view_count
            from unnest(pieces.days) as piece
            cross join lateral (
                select path, view_count
                from page_views_daily
                where bucket >= lower(piece) and bucket < upper(piece) and site_id = at_site
                offset 0
            ) as level
            union all
            select path, view_count
            from unnest(pieces.quarter_hours) as piece
            cross join lateral (
                select path, view_count
                from page_views_quarter_hour
                where bucket >= lower(piece) and bucket < upper(piece) and site_id = at_site
                offset 0
            ) as level
            union all
            select key, event_count from breakdown_raw('page_views', pieces.raw, at_site)
        ) as part (path, view_count)
        group by path
        order by sum(view_count) desc, path collate "C"
        limit most;
end
$$;

comment on function top_pages(timestamptz, timestamptz, smallint, integer) is
    'The paths that were viewed most in [range_start, range_end), by exact counts; of equal ones the first by code points. A null bound is an open end';

create function top_elements(
    range_start timestamptz default '-infinity',
    range_end   timestamptz default 'infinity',
    site        smallint    default 1,
    most        integer     default 10
)
returns table (element text, click_count bigint)
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    at_site constant smallint := coalesce(site, 1);
    pieces  record;
begin
    pieces := trusted_pieces(
        'element_clicks', coalesce(range_start, '-infinity'), coalesce(range_end, 'infinity'), '{}'
    );
    return query
        select element, sum(click_count)::bigint
        from (
            select element, click_count
            from unnest(pieces.days) as piece
            cross join lateral (
                select element, click_count
                from element_clicks_daily
                where bucket >= lower(piece) and bucket < upper(piece) and site_id = at_site
                offset 0
            ) as level
            union all
            select element, click_count
            from unnest(pieces.quarter_hours) as piece
            cross join lateral (
                select element, click_count
                from element_clicks_quarter_hour
                where bucket >= lower(piece) and bucket < upper(piece) and site_id = at_site
                offset 0
            ) as level
            union all
            select key, event_count from breakdown_raw('element_clicks', pieces.raw, at_site)
        ) as part (element, click_count)
        group by element
        order by sum(click_count) desc, element collate "C"
        limit most;
end
$$;

comment on function top_elements(timestamptz, timestamptz, smallint, integer) is
    'The elements that were clicked most in [range_start, range_end), by exact counts; of equal ones the first by code points. A null bound is an open end';

-- How many users have events in pieces of time, which trusted_pieces() gave. One day that is right has
-- a row for each of its users; else each is remembered until the last row was read, for which there is
-- more memory than the default (twice this: hash_mem_multiplier).
create function users_within(
    days tstzmultirange, quarter_hours tstzmultirange, raw tstzmultirange, site smallint
)
returns bigint
language plpgsql volatile
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set work_mem = '32MB'
set search_path = public, pg_temp
as $$
begin
    if upper(days) - lower(days) = interval '24 hours' and isempty(quarter_hours) and isempty(raw) then
        return (select count(*) from users_daily where bucket = lower(days) and site_id = site);
    end if;
    return (
        select count(*)
        from (
            select user_id
            from (
                select user_id
                from unnest(days) as piece
                cross join lateral (
                    select user_id
                    from users_daily
                    where bucket >= lower(piece) and bucket < upper(piece) and site_id = site
                    offset 0
                ) as level
                union all
                select user_id
                from unnest(quarter_hours) as piece
                cross join lateral (
                    select user_id
                    from users_quarter_hour
                    where bucket >= lower(piece) and bucket < upper(piece) and site_id = site
                    offset 0
                ) as level
                union all
                select key from breakdown_raw('users', raw, site) where not isempty(raw)
            ) as active
            group by user_id
        ) as active_user
    );
end
$$;

create function active_users(
    range_start timestamptz default '-infinity',
    range_end   timestamptz default 'infinity',
    site        smallint    default 1
)
returns bigint
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    pieces constant record := trusted_pieces(
        'users', coalesce(range_start, '-infinity'), coalesce(range_end, 'infinity'), '{}'
    );
begin
    return users_within(pieces.days, pieces.quarter_hours, pieces.raw, coalesce(site, 1::smallint));
end
$$;

comment on function active_users(timestamptz, timestamptz, smallint) is
    'How many users have an event in [range_start, range_end), exactly. A null bound is an open end';

create function active_users_over_time(
    range_start timestamptz default null,
    range_end   timestamptz default null,
    tz          text        default 'UTC',
    site        smallint    default 1
)
returns table (bucket timestamptz, active_users bigint)
language plpgsql volatile
set plan_cache_mode = force_custom_plan
set search_path = public, pg_temp
as $$
#variable_conflict use_column
declare
    at_site constant smallint := coalesce(site, 1);
    closed  record;
    starts  timestamptz[];
    pieces  record;
begin
    closed := closed_range(range_start, range_end, at_site);
    starts := bucket_starts('day', closed.first, closed.behind, tz);
    pieces := trusted_pieces('users', closed.first, closed.behind, starts[2:]);
    return query
        select
            starts[number],
            users_within(pieces.days * day, pieces.quarter_hours * day, pieces.raw * day, at_site)
        from generate_subscripts(starts, 1) as number
        cross join lateral (
            select tstzmultirange(tstzrange(starts[number], starts[number + 1]))
        ) as bucket (day)
        union all
        select null, active_users(closed.first, closed.behind, at_site)
        order by 1 nulls last;
end
$$;

comment on function active_users_over_time(timestamptz, timestamptz, text, smallint) is
    'How many users have an event on each day of tz, exactly, of the events in [range_start, range_end); then, as in a rollup, a row without a bucket: how many in the whole range';
