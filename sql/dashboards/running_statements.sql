-- What is running now, and for how long?
--
-- running       since the statement began
-- pid           its session
-- application   the name that the application gave itself
-- role          whose session it is
-- transaction   since the transaction began
-- waits_for     what it waits for: a lock, a read, its client; nothing while it computes
-- statement     as it was sent; the service sends values apart from it
-- status        warning after a minute
--
-- Look: all the time
-- Empty: nothing is running, or the server shows no sessions (the embedded one doesn't)

create or replace view ops.running_statements as
select
    clock_timestamp() - query_start as running,
    pid,
    application_name as application,
    usename::text as role,
    clock_timestamp() - xact_start as transaction,
    wait_event_type || ': ' || wait_event as waits_for,
    query as statement,
    case when clock_timestamp() - query_start > interval '1 minute' then 'warning' else 'ok' end as status
from pg_stat_activity
where datname = current_database()
  and state in ('active', 'fastpath function call')
  and pid <> pg_backend_pid()
order by query_start;
