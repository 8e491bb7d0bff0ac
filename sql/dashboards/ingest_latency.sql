-- How long did senders wait for their events to be committed, in each minute of the last hour?
--
-- minute           its start; a minute is there once it is over
-- instance         the process that took the events: host and pid
-- events           events committed
-- events_a_flush   how many were committed together, on average
-- p50_ms           half of the events waited no longer, from acceptance to COMMIT, in milliseconds
-- p95_ms           19 of 20
-- p99_ms           99 of 100
-- max_ms           all
-- not_stored       valid events that were answered otherwise than 202
-- status           warning where an event was not stored, or one of 20 waited for over a second
--
-- Look: all the time
-- Empty: no event reached the service in the last hour

create or replace view ops.ingest_latency as
select
    minute,
    instance,
    events,
    round(events::numeric / nullif(flushes, 0), 1) as events_a_flush,
    p50_ms,
    p95_ms,
    p99_ms,
    max_ms,
    not_stored,
    case when not_stored > 0 or p95_ms > 1000 then 'warning' else 'ok' end as status
from ingest_minutes
where minute > now() - interval '1 hour' and (flushes > 0 or not_stored > 0)
order by minute desc, instance;
