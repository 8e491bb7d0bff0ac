-- How many events happened in each minute of the last hour?
--
-- minute      its start; the newest is not over yet
-- events      events whose timestamp is in that minute, of all sites, exactly
-- per_second  the same for each second of the minute that has passed
--
-- Look: all the time
-- Empty: no event happened in the last hour

create or replace view ops.ingest_rate as
select
    minute,
    sum(events)::bigint as events,
    round(
        sum(events) / greatest(extract(epoch from least(now() - minute, interval '1 minute')), 1), 1
    ) as per_second
from ops.events_by_type
group by minute
order by minute desc;
