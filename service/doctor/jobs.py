"""TimescaleDB's background jobs: whether they can run, do run, and keep up."""

from collections.abc import Iterator

from psycopg import Connection

from service.database.connections import load_query
from service.doctor.findings import Finding, ok, warning, wrong
from service.settings import Settings

BEHIND = load_query("behind")
MOST_BEHIND = {"minute": 900.0, "quarter_hour": 3600.0, "daily": 60 * 3600.0}
"""Seconds that what an aggregate has taken in may be old, by the width of its buckets."""

WORKERS = """
select current_setting('timescaledb.max_background_workers')::integer,
       current_setting('max_worker_processes')::integer,
       current_setting('max_parallel_workers')::integer,
       (select count(*) from timescaledb_information.jobs where scheduled)
"""
# Whether TimescaleDB's makers hear of this server is not what counts here.
JOBS = """
select jobs.job_id, jobs.proc_name, jobs.hypertable_name, jobs.scheduled,
       last_run_status = 'Failed',
       coalesce(total_runs, 0) = 0 and jobs.next_start < now() - interval '10 minutes'
from timescaledb_information.jobs
left join timescaledb_information.job_stats using (job_id)
where jobs.proc_name <> 'policy_telemetry'
order by jobs.job_id
"""
WITHOUT_POLICY = """
select name::text
from event_aggregates()
where not exists (
    select from timescaledb_information.jobs
    where proc_name = 'policy_refresh_continuous_aggregate'
      and (config ->> 'mat_hypertable_id')::integer = mat_hypertable_id
)
"""


def check_workers(connection: Connection, _: Settings) -> Iterator[Finding]:
    """Yield whether there are processes enough for the jobs."""
    row = connection.execute(WORKERS).fetchone() or (0, 0, 0, 0)
    background, all_workers, parallel, jobs = map(int, row)
    found = f"{background} for {jobs} jobs, of {all_workers} of all kinds"
    if background < jobs + 1:
        remedy = (
            f"Jobs wait for each other: timescaledb.max_background_workers = {jobs + 2} or more."
        )
        yield warning("workers", found, remedy)
    elif all_workers < background + parallel + 3:
        needed = background + parallel + 3
        yield warning("workers", found, f"max_worker_processes = {needed}, and a restart.")
    else:
        yield ok("workers", found)


def check_jobs(connection: Connection, _: Settings) -> Iterator[Finding]:
    """Yield what is wrong with jobs."""
    count = 0
    for job_id, procedure, table, scheduled, failed, waits in connection.execute(JOBS).fetchall():
        count += 1
        name = f"{job_id} ({procedure}{f' on {table}' if table else ''})"
        if failed:
            remedy = "`python -m service ops jobs` says why, and so does the server's log."
            yield wrong("jobs", f"Job {name} failed", remedy)
        elif not scheduled:
            remedy = f"Let it run: select alter_job({job_id}, scheduled => true)."
            yield warning("jobs", f"Job {name} is paused", remedy)
        elif waits:
            remedy = (
                "Is the scheduler there? select _timescaledb_functions.start_background_workers(); "
                "after a restore: select timescaledb_post_restore()."
            )
            yield wrong("jobs", f"Job {name} does not begin", remedy)
    for (name,) in connection.execute(WITHOUT_POLICY).fetchall():
        remedy = "Make its policy as the migration did (sql/migrations)."
        yield wrong("jobs", f"Nothing refreshes {name}", remedy)
    yield ok("jobs", f"{count} jobs were looked at")


def check_freshness(connection: Connection, _: Settings) -> Iterator[Finding]:
    """Yield which aggregates are far behind: counts are exact, and become slow."""
    oldest = 0.0
    for name, behind in connection.execute(BEHIND).fetchall():
        width = next(width for width in MOST_BEHIND if name.endswith(width))
        if behind is None:
            continue
        oldest = max(oldest, behind)
        if behind > MOST_BEHIND[width]:
            remedy = "See the jobs; `python -m service refresh` brings all up to date."
            yield warning("freshness", f"{name} is {behind / 60:.0f} minutes behind", remedy)
    yield ok("freshness", f"The oldest has taken in what is {oldest / 60:.0f} minutes old")
