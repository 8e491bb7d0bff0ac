-- How many connections are there, and what do they do?
--
-- database             the server's databases share its connections
-- application          the name that the application gave itself; (all) is the sum
-- state                active, idle, idle in transaction
-- connections          how many
-- percent_of_max       of max_connections
-- longest_state        the longest that one of them has been in this state
-- longest_transaction  the longest transaction that one of them has open
-- status               warning where one has idled in a transaction for a minute, or of the sum from 80 %
--
-- Look: all the time
-- Empty: the server shows no sessions (the embedded one doesn't)

create or replace view ops.connections as
select
    datname::text as database,
    case when grouping(state) = 1 then '(all)' else application_name end as application,
    state,
    count(*) as connections,
    round(100.0 * count(*) / current_setting('max_connections')::integer, 1) as percent_of_max,
    clock_timestamp() - min(state_change) as longest_state,
    clock_timestamp() - min(xact_start) as longest_transaction,
    case
        when grouping(state) = 1 and count(*) >= 0.8 * current_setting('max_connections')::integer
            then 'warning'
        when state like 'idle in transaction%' and clock_timestamp() - min(state_change) > interval '1 minute'
            then 'warning'
        else 'ok'
    end as status
from pg_stat_activity
where backend_type = 'client backend'
group by grouping sets ((datname, application_name, state), ())
having count(*) > 0
order by grouping(state) desc, count(*) desc, datname, application_name, state;
