-- How much do the columns save, and what waits to become columns?
--
-- hypertable       or aggregate
-- chunks           how many it has
-- converted        of these are columns
-- row_bytes        their size when they were rows
-- column_bytes     their size now
-- ratio            how many times smaller that is
-- due_after        the age at which the policy makes a chunk columns
-- waiting          chunks of that age that are still rows, or have rows again
-- waiting_bytes    their size
-- waiting_since    when the first was due
-- next_run         when the policy runs next
-- why              why they wait
-- status           warning when there is no policy that will take them, or one has waited for a day
--
-- Look: daily
-- Empty: no hypertable has a columnstore

create or replace view ops.columnstore as
with policy as (
    select
        job.hypertable_name::text as hypertable,
        (config ->> 'compress_after')::interval as due_after,
        case
            when not job.scheduled then 'its policy is paused'
            when stats.last_run_status = 'Failed' then 'the last run failed: see jobs'
            else 'the next run takes it'
        end as why,
        job.scheduled and stats.last_run_status is distinct from 'Failed' as works,
        case when isfinite(job.next_start) then job.next_start end as next_run
    from timescaledb_information.jobs as job
    left join timescaledb_information.job_stats as stats using (job_id)
    where proc_name = 'policy_compression' and jsonb_typeof(config -> 'compress_after') = 'string'
), summary as (
    select
        hypertable,
        count(*) as chunks,
        count(*) filter (where form <> 'rows') as converted,
        sum(row_bytes)::bigint as row_bytes,
        sum(total_bytes) filter (where form <> 'rows')::bigint as column_bytes,
        count(*) filter (where due_since is not null) as waiting,
        sum(total_bytes) filter (where due_since is not null)::bigint as waiting_bytes,
        min(due_since) filter (where form = 'rows') as waiting_since
    from ops.chunks
    group by hypertable
)
select
    hypertable,
    chunks,
    converted,
    row_bytes,
    column_bytes,
    round(row_bytes::numeric / nullif(column_bytes, 0), 1) as ratio,
    due_after,
    waiting,
    waiting_bytes,
    waiting_since,
    next_run,
    case when waiting > 0 then why end as why,
    case
        when waiting > 0 and (not works or waiting_since < now() - interval '1 day') then 'warning'
        else 'ok'
    end as status
from summary
left join policy using (hypertable)
where converted > 0 or due_after is not null
order by hypertable;
