-- Which chunks are there, how large are they, and are they columns yet?
--
-- hypertable    or aggregate
-- chunk         its table, in the schema _timescaledb_internal
-- range_start   its first instant
-- range_end     the first instant after it
-- form          rows, columns, or both: rows were written after it had become columns
-- total_bytes   its size on disk: its table, indexes, out-of-line values, and columns
-- table_bytes   of this its table and columns
-- index_bytes   of this its indexes
-- toast_bytes   of this its out-of-line values
-- row_bytes     its size before it became columns
-- due_since     since when it has been old enough for the policy to make it columns, or was made as old
-- status        warning when it has waited for a day; the policy runs twice a day
--
-- Look: weekly

create or replace view ops.chunks as
with policy as (
    select hypertable_name::text as hypertable, (config ->> 'compress_after')::interval as due_after
    from timescaledb_information.jobs
    where proc_name = 'policy_compression' and jsonb_typeof(config -> 'compress_after') = 'string'
), chunk as (
    select
        hypertable,
        info.chunk_name,
        range_start,
        range_end,
        case
            when not is_compressed then 'rows'
            when 'PARTIAL' = any (_timescaledb_functions.chunk_status_text(
                format('%I.%I', chunk_schema, chunk_name)::regclass
            )) then 'both'
            else 'columns'
        end as form,
        greatest(range_end + due_after, chunk_creation_time) as due
    from ops.relations()
    join timescaledb_information.chunks as info
        on format('%I.%I', hypertable_schema, hypertable_name)::regclass = relation
    left join policy using (hypertable)
), size as (
    select hypertable, size.*, before_compression_total_bytes as row_bytes
    from ops.relations()
    cross join lateral chunks_detailed_size(relation) as size
    left join chunk_columnstore_stats(relation) using (chunk_schema, chunk_name)
)
select
    hypertable,
    chunk_name::text as chunk,
    range_start,
    range_end,
    form,
    total_bytes,
    table_bytes,
    index_bytes,
    toast_bytes,
    row_bytes,
    case when form <> 'columns' and due < now() then due end as due_since,
    case when form = 'rows' and due < now() - interval '1 day' then 'warning' else 'ok' end as status
from chunk
join size using (hypertable, chunk_name)
order by status desc, range_start desc, hypertable;
