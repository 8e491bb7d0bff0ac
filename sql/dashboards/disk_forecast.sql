-- How large will the database be?
--
-- hypertable              or aggregate; (all) is the sum
-- bytes_a_day             rows written a day, in bytes, over the last seven days
-- bytes_now               its size on disk
-- bytes_30_days           its size in 30 days
-- bytes_90_days           its size in 90 days
-- bytes_365_days          its size in a year
-- bytes_30_days_as_rows   its size in 30 days, were all of it rows
-- bytes_90_days_as_rows   its size in 90 days, were all of it rows
-- bytes_365_days_as_rows  its size in a year, were all of it rows
--
-- The method: each day adds as much as a day of the last seven did, a chunk's bytes being spread
-- evenly over its time so far. What has reached the policy's age by then is as much smaller as the
-- chunks that are columns now; events that are older than RETENTION_DAYS are gone, while aggregates
-- grow on, and so is what a retention policy of TimescaleDB drops.
--
-- Look: weekly

create or replace view ops.disk_forecast as
with policy as (
    select
        case proc_name when 'retention_job' then 'events' else hypertable_name::text end as hypertable,
        min((config ->> 'compress_after')::interval) as columns_after,
        min(coalesce(config ->> 'drop_after', config ->> 'keep')::interval) as dropped_after
    from timescaledb_information.jobs
    where scheduled and proc_name in ('policy_compression', 'policy_retention', 'retention_job')
      and 'string' in (
          jsonb_typeof(config -> 'compress_after'),
          jsonb_typeof(config -> 'drop_after'),
          jsonb_typeof(config -> 'keep')
      )
    group by 1
), chunk as (
    select
        hypertable, range_start, range_end, form, total_bytes,
        coalesce(row_bytes, total_bytes) as row_bytes,
        coalesce(columns_after, 'infinity') as columns_after,
        coalesce(dropped_after, 'infinity') as dropped_after
    from ops.chunks left join policy using (hypertable)
), rate as (
    -- A hypertable that is younger than seven days is measured by the days that it has.
    select
        hypertable, columns_after, dropped_after,
        sum(total_bytes) as bytes_now,
        coalesce(
            sum(total_bytes) filter (where form = 'columns')::numeric
            / nullif(sum(row_bytes) filter (where form = 'columns'), 0),
            1
        ) as shrunk,
        sum(
            row_bytes * greatest(extract(epoch from least(range_end, now())
                - greatest(range_start, now() - interval '7 days')), 0)
            / greatest(extract(epoch from least(range_end, now()) - range_start), 1)
        ) / greatest(least(7, extract(epoch from now() - min(range_start)) / 86400), 1) as bytes_a_day
    from chunk
    group by hypertable, columns_after, dropped_after
), kept as (
    select
        hypertable,
        days,
        sum(case when range_end <= at - dropped_after then 0
                 when form = 'columns' then total_bytes
                 when range_end <= at - columns_after then total_bytes * shrunk
                 else total_bytes end) as bytes,
        sum(case when range_end <= at - dropped_after then 0 else row_bytes end) as as_rows
    from chunk
    join rate using (hypertable, columns_after, dropped_after)
    cross join unnest(array[30, 90, 365]) as days
    cross join lateral (select now() + days * interval '1 day') as horizon (at)
    group by hypertable, days
), added as (
    select
        hypertable,
        days,
        bytes_a_day * (new_days - column_days + column_days * shrunk) as bytes,
        bytes_a_day * new_days as as_rows
    from rate
    cross join unnest(array[30, 90, 365]) as days
    cross join lateral (
        select least(days, extract(epoch from dropped_after) / 86400) as new_days
    ) as new
    cross join lateral (
        select greatest(new_days - extract(epoch from columns_after) / 86400, 0) as column_days
    ) as columns
)
select
    case when grouping(hypertable) = 1 then '(all)' else hypertable end as hypertable,
    sum(bytes_a_day) filter (where days = 30)::bigint as bytes_a_day,
    sum(bytes_now) filter (where days = 30)::bigint as bytes_now,
    sum(kept.bytes + added.bytes) filter (where days = 30)::bigint as bytes_30_days,
    sum(kept.bytes + added.bytes) filter (where days = 90)::bigint as bytes_90_days,
    sum(kept.bytes + added.bytes) filter (where days = 365)::bigint as bytes_365_days,
    sum(kept.as_rows + added.as_rows) filter (where days = 30)::bigint as bytes_30_days_as_rows,
    sum(kept.as_rows + added.as_rows) filter (where days = 90)::bigint as bytes_90_days_as_rows,
    sum(kept.as_rows + added.as_rows) filter (where days = 365)::bigint as bytes_365_days_as_rows
from kept
join added using (hypertable, days)
join rate using (hypertable)
group by grouping sets ((hypertable), ())
having count(*) > 0
order by grouping(hypertable) desc, bytes_365_days desc;
