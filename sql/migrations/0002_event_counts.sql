-- Counts by site and type, in three levels, each made of the one below it; only the minutes read
-- events. Fifteen minutes divide every time-zone offset in use, so any zone's day is made of them.
--
-- They are not real-time: a level that is made of another must read what that one has materialized,
-- and nothing else. Were it to read rows that the other has not taken in, and they were deleted
-- before that one did, nothing would ever tell it. event_counts() is exact at every moment.

create materialized view event_counts_minute
with (
    timescaledb.continuous,
    timescaledb.materialized_only = true,
    timescaledb.create_group_indexes = false,
    timescaledb.chunk_interval = '30 days'
) as
select site_id, event_type, time_bucket('1 minute', timestamp) as bucket, count(*) as event_count
from events
group by site_id, event_type, time_bucket('1 minute', timestamp)
with no data;

create materialized view event_counts_quarter_hour
with (
    timescaledb.continuous,
    timescaledb.materialized_only = true,
    timescaledb.create_group_indexes = false,
    timescaledb.chunk_interval = '1 year'
) as
select
    site_id,
    event_type,
    time_bucket('15 minutes', bucket) as bucket,
    sum(event_count)::bigint as event_count
from event_counts_minute
group by site_id, event_type, time_bucket('15 minutes', bucket)
with no data;

create materialized view event_counts_daily
with (
    timescaledb.continuous,
    timescaledb.materialized_only = true,
    timescaledb.create_group_indexes = false,
    timescaledb.chunk_interval = '10 years'
) as
select
    site_id,
    event_type,
    time_bucket('1 day', bucket) as bucket,
    sum(event_count)::bigint as event_count
from event_counts_quarter_hour
group by site_id, event_type, time_bucket('1 day', bucket)
with no data;

-- A policy refreshes only what is stale, however old it is, so a long window costs nothing. One
-- batch holds a month of minutes: the default of ten buckets a batch commits after each ten.
-- The window ends before now: a bucket that is still being written would only be stale again.
select add_continuous_aggregate_policy(
    'event_counts_minute',
    start_offset => null,
    end_offset => interval '1 minute',
    schedule_interval => interval '15 seconds',
    buckets_per_batch => 43200
);
select add_continuous_aggregate_policy(
    'event_counts_quarter_hour',
    start_offset => null,
    end_offset => interval '15 minutes',
    schedule_interval => interval '30 seconds',
    buckets_per_batch => 43200
);
select add_continuous_aggregate_policy(
    'event_counts_daily',
    start_offset => null,
    end_offset => interval '1 day',
    schedule_interval => interval '1 minute',
    buckets_per_batch => 43200
);
