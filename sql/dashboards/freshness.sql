-- Which buckets has each aggregate still to take in, and how far is it behind?
--
-- aggregate        the aggregate
-- width            of its buckets
-- complete_until   what is older has been taken in, but for the stale buckets; nothing before the first refresh
-- behind           how long ago that is: a bucket is taken in only when it is over
-- stale_ranges     ranges before it that have changed since, or were never refreshed
-- stale_buckets    the buckets in these ranges
-- oldest_stale     the start of the first
-- last_refresh     when the policy last ended well
-- status           warning when it is further behind than its policy allows, three runs included
--
-- Counts are exact whatever this says: their functions count rows where a bucket is stale.
--
-- Look: all the time

create or replace view ops.freshness as
with aggregate (name, width) as (
    values
        ('event_counts_minute', interval '1 minute'),
        ('event_counts_quarter_hour', interval '15 minutes'),
        ('event_counts_daily', interval '24 hours'),
        ('page_views_quarter_hour', interval '15 minutes'),
        ('page_views_daily', interval '24 hours'),
        ('element_clicks_quarter_hour', interval '15 minutes'),
        ('element_clicks_daily', interval '24 hours'),
        ('users_quarter_hour', interval '15 minutes'),
        ('users_daily', interval '24 hours')
), stale as (
    select name, unnest(range_agg(buckets_around(width, stale_from, stale_until))) as range
    from aggregate join stale_ranges on view_name = name
    where stale_until > '-infinity'
    group by name
), summary as (
    select
        name,
        -- What ends before anybody's time holds nothing.
        min(lower(range)) filter (where upper(range) = 'infinity' and lower(range) > '0001-01-01') as complete_until,
        count(*) filter (where upper(range) < 'infinity') as ranges,
        sum(extract(epoch from upper(range) - lower(range)))
            filter (where upper(range) < 'infinity' and lower(range) > '-infinity') as seconds,
        min(lower(range)) filter (where upper(range) < 'infinity') as oldest
    from stale
    group by name
), policy as (
    select
        job.hypertable_name::text as name,
        job.schedule_interval,
        (job.config ->> 'end_offset')::interval as end_offset,
        nullif(stats.last_successful_finish, '-infinity') as last_successful_finish
    from timescaledb_information.jobs as job
    left join timescaledb_information.job_stats as stats using (job_id)
    where job.proc_name = 'policy_refresh_continuous_aggregate' and job.scheduled
      and job.hypertable_name in (select name from aggregate)
)
select
    name as aggregate,
    width,
    complete_until,
    now() - complete_until as behind,
    coalesce(ranges, 0) as stale_ranges,
    coalesce(seconds / extract(epoch from width), 0)::bigint as stale_buckets,
    oldest as oldest_stale,
    last_successful_finish as last_refresh,
    case
        when schedule_interval is null then 'warning'
        when now() - complete_until > end_offset + width + 3 * schedule_interval + interval '1 minute'
            then 'warning'
        else 'ok'
    end as status
from aggregate
left join summary using (name)
left join policy using (name)
order by status desc, width, name;
