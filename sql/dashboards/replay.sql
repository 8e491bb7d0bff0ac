-- What went to spools in each minute of the last day, and what of it came to the database?
--
-- minute       its start; a minute is there once it is over
-- instance     the process: host and pid
-- spooled      events that went to its spool, since the database was away
-- replayed     events that came from there to the database
-- refused      events of the spool that the database refused; they are in rejected_events
-- spool_bytes  bytes of events in its spool at the end of the minute
-- status       warning where the database refused one
--
-- A segment of the spool counts in the minute in which its last event came to the database.
--
-- Look: daily
-- Empty: no event was in a spool in the last day

create or replace view ops.replay as
select
    minute,
    instance,
    spooled,
    replayed,
    refused,
    spool_bytes,
    case when refused > 0 then 'warning' else 'ok' end as status
from ingest_minutes
where minute > now() - interval '1 day' and spooled + replayed + refused + spool_bytes > 0
order by minute desc, instance;
