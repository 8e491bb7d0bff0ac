-- How large are the hypertables and aggregates?
--
-- hypertable           or aggregate
-- chunks               how many it has
-- row_estimate         its rows, as vacuum last estimated them; nothing before it did
-- total_bytes          its size on disk: tables, indexes, out-of-line values, and columns
-- table_bytes          of this its tables and columns
-- index_bytes          of this its indexes
-- toast_bytes          of this its out-of-line values
-- first_chunk_starts   chunks may be wider than what is in them
-- last_chunk_ends      may be in the future
--
-- Look: daily

create or replace view ops.hypertables as
with chunk as (
    select hypertable, count(*) as chunks, min(range_start) as starts, max(range_end) as ends,
           sum(total_bytes)::bigint as total_bytes, sum(table_bytes)::bigint as table_bytes,
           sum(index_bytes)::bigint as index_bytes, sum(toast_bytes)::bigint as toast_bytes
    from ops.chunks
    group by hypertable
)
select
    relation.hypertable,
    coalesce(chunks, 0) as chunks,
    case when chunks > 0 then nullif(approximate_row_count(relation.relation), 0) else 0 end as row_estimate,
    total_bytes,
    table_bytes,
    index_bytes,
    toast_bytes,
    starts as first_chunk_starts,
    ends as last_chunk_ends
from ops.relations() as relation
left join chunk using (hypertable)
order by total_bytes desc nulls last, hypertable;
