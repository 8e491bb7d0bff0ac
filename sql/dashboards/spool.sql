-- Which instances have, or had, events on their disks that the database lacks?
--
-- instance     the process: host and pid
-- said_at      of when its last word is; without events, spooled ones too, it says nothing
-- spool_bytes  bytes of events on its disk then, which the database does not have yet
-- waiting      for how long its spool was not empty; at most an hour is known
-- spooled      events that went to its spool in the last hour
-- replayed     events that came from there to the database in the last hour
-- refused      events of its spool that the database refused in the last hour; they are in rejected_events
-- status       warning where events wait for ten minutes, or their instance has said nothing for three
--
-- What happens during an outage is told up to a minute after it; until then, GET /health/ready tells.
-- Events of an instance that ended are replayed by another one of its host, which then tells of them.
--
-- Look: all the time
-- Empty: no event was in a spool in the last hour

create or replace view ops.spool as
with told as (
    select
        *,
        least(minute + interval '1 minute', now()) as said_at,
        max(minute) filter (where spool_bytes = 0) over (partition by instance) as empty_in,
        row_number() over (partition by instance order by minute desc) = 1 as is_last,
        max(minute) over (partition by split_part(instance, ':', 1)) as host_minute
    from ingest_minutes
    where minute > now() - interval '1 hour' and spool_bytes is not null
),
of_instance as (
    select
        instance,
        max(said_at) as said_at,
        max(spool_bytes) filter (where is_last) as spool_bytes,
        max(said_at) - min(minute) filter (where minute > coalesce(empty_in, '-infinity')) as waiting,
        sum(spooled)::bigint as spooled,
        sum(replayed)::bigint as replayed,
        sum(refused)::bigint as refused,
        max(host_minute) > max(minute) as is_followed
    from told
    group by instance
)
select
    instance,
    said_at,
    spool_bytes,
    waiting,
    spooled,
    replayed,
    refused,
    case
        when spool_bytes = 0 or is_followed then 'ok'
        when waiting > interval '10 minutes' or said_at < now() - interval '3 minutes' then 'warning'
        else 'ok'
    end as status
from of_instance
where spool_bytes + spooled + replayed + refused > 0
order by spool_bytes desc, said_at desc;
