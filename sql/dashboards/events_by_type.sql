-- How many events of each type happened in each minute of the last hour?
--
-- minute          its start
-- event_type      view, click or location
-- events          events whose timestamp is in that minute, of all sites, exactly
-- percent         share of the minute's events
--
-- Look: all the time
-- Empty: no event happened in the last hour

create or replace view ops.events_by_type as
with minute as materialized (
    -- A minute is counted from its rows where the aggregate has not taken it in.
    select
        bucket,
        exists (
            select from event_counts_stale
            where view_name = 'event_counts_minute'
              and stale_from < bucket + interval '1 minute' and stale_until > bucket
        ) as stale
    from generate_series(
        date_bin('1 minute', now(), 'epoch') - interval '59 minutes',
        date_bin('1 minute', now(), 'epoch'),
        interval '1 minute'
    ) as bucket
), counted as (
    select minute.bucket, event_type, event_count
    from minute join event_counts_minute as materialized on materialized.bucket = minute.bucket
    where not stale and materialized.bucket > now() - interval '61 minutes'
    union all
    select minute.bucket, row_count.event_type, row_count.event_count
    from minute cross join lateral (
        select event_type, count(*) as event_count
        from events
        where timestamp > now() - interval '61 minutes'
          and timestamp >= minute.bucket and timestamp < minute.bucket + interval '1 minute'
        group by event_type
    ) as row_count
    where stale
)
select
    bucket as minute,
    event_type,
    sum(event_count)::bigint as events,
    round(100 * sum(event_count) / sum(sum(event_count)) over (partition by bucket), 1) as percent
from counted
group by bucket, event_type
order by bucket desc, event_type;
