-- Start: is this how long events are kept? Null is for ever.
select (
    select (config ->> 'keep')::interval
    from timescaledb_information.jobs
    where proc_schema = 'public' and proc_name = 'retention_job'
) is not distinct from %s::interval
