-- Who waits for a lock, for how long, and who has it?
--
-- waiting               for how long
-- pid                   the session that waits
-- relation              the table, where the lock is on one
-- mode                  the lock that it waits for
-- statement             what it wants to do
-- blocker_pid           the session that is before it: it has the lock, or asked earlier
-- blocker_application   that session's application
-- blocker_state         what that session does
-- blocker_transaction   since when its transaction has been open
-- blocker_statement     its statement, or the last one
-- status                warning after ten seconds
--
-- Look: all the time
-- Empty: nobody waits for a lock

create or replace view ops.locks as
with waiting as materialized (
    select pid, query, pg_blocking_pids(pid) as blockers
    from pg_stat_activity
    where wait_event_type = 'Lock' and datname = current_database()
)
select
    clock_timestamp() - lock.waitstart as waiting,
    waiting.pid,
    lock.relation::regclass::text as relation,
    lock.mode,
    waiting.query as statement,
    blocker.pid as blocker_pid,
    blocker.application_name as blocker_application,
    blocker.state as blocker_state,
    clock_timestamp() - blocker.xact_start as blocker_transaction,
    blocker.query as blocker_statement,
    case when clock_timestamp() - lock.waitstart > interval '10 seconds' then 'warning' else 'ok' end as status
from waiting
join pg_locks as lock on lock.pid = waiting.pid and not lock.granted
left join pg_stat_activity as blocker on blocker.pid = any (waiting.blockers)
order by lock.waitstart, waiting.pid;
