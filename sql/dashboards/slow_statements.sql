-- Which 50 statements take most of the database's time?
--
-- percent        share of the time that all statements of this database took
-- calls          how often
-- mean_ms        milliseconds on average
-- max_ms         milliseconds, the slowest
-- rows_a_call    rows that it returned or changed, on average
-- cache_percent  share of the blocks it read that were in PostgreSQL's cache
-- statement      without its values, which PostgreSQL leaves out
--
-- Look: daily
-- Empty: pg_stat_statements is off. Put it into shared_preload_libraries (beside timescaledb), restart the server, and CREATE EXTENSION pg_stat_statements

create or replace view ops.slow_statements as
select
    round((100 * total_ms / nullif(sum(total_ms) over (), 0))::numeric, 1) as percent,
    calls,
    round(mean_ms::numeric, 3) as mean_ms,
    round(max_ms::numeric, 3) as max_ms,
    round(row_count::numeric / nullif(calls, 0), 1) as rows_a_call,
    round(100.0 * blocks_hit / nullif(blocks_hit + blocks_read, 0), 1) as cache_percent,
    statement
from ops.statements()
order by total_ms desc
limit 50;
