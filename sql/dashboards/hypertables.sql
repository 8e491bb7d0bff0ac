-- How large are the hypertables and aggregates?
--
-- hypertable    or aggregate
-- chunks        how many it has
-- row_estimate  its rows, as vacuum last estimated them
-- total_bytes   its size on disk: tables, indexes, out-of-line values, and columns
-- table_bytes   of this its tables and columns
-- index_bytes   of this its indexes
-- toast_bytes   of this its out-of-line values
-- oldest        the start of its first chunk
-- newest        the end of its last chunk
--
-- Look: daily

create or replace view ops.hypertables as
with chunk as (
    select hypertable, count(*) as chunks, min(range_start) as oldest, max(range_end) as newest,
           sum(total_bytes)::bigint as total_bytes, sum(table_bytes)::bigint as table_bytes,
           sum(index_bytes)::bigint as index_bytes, sum(toast_bytes)::bigint as toast_bytes
    from ops.chunks
    group by hypertable
)
select
    relation.hypertable,
    coalesce(chunks, 0) as chunks,
    approximate_row_count(relation.relation) as row_estimate,
    total_bytes,
    table_bytes,
    index_bytes,
    toast_bytes,
    oldest,
    newest
from ops.relations() as relation
left join chunk using (hypertable)
order by total_bytes desc nulls last, hypertable;
