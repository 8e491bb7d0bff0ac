-- Do the background jobs run?
--
-- job_id          its number, as run_job() and alter_job() take it
-- job             what it does
-- on_table        to which hypertable or aggregate
-- every           how often it is to run
-- last_run        when it last began
-- took            how long that run took
-- result          how that run ended
-- runs            how often it ran
-- failures        how often it failed
-- next_run        when it runs next
-- last_failure    when it last failed, while TimescaleDB keeps the record
-- last_error      why
-- status          warning when it is paused, or its last run failed
--
-- Look: daily

create or replace view ops.jobs as
select
    job_id,
    regexp_replace(job.proc_name, '^policy_', '') as job,
    job.hypertable_name::text as on_table,
    job.schedule_interval as every,
    nullif(stats.last_run_started_at, '-infinity') as last_run,
    stats.last_run_duration as took,
    case when stats.job_status = 'Running' then 'Running' else stats.last_run_status end as result,
    stats.total_runs as runs,
    stats.total_failures as failures,
    case when isfinite(job.next_start) then job.next_start end as next_run,
    failure.failed_at as last_failure,
    failure.message as last_error,
    case when not job.scheduled or stats.last_run_status = 'Failed' then 'warning' else 'ok' end as status
from timescaledb_information.jobs as job
left join timescaledb_information.job_stats as stats using (job_id)
left join ops.job_failures() as failure using (job_id)
order by job_id;
