-- How much of what is read is in PostgreSQL's cache?
--
-- hypertable      or aggregate, with all its chunks; (other) are the other tables of this database
-- table_hits      blocks of tables that were in the cache
-- table_reads     blocks of tables that the system was asked for; it may have had them in its own cache
-- table_percent   share of hits
-- index_hits      the same of indexes
-- index_reads     the same of indexes
-- index_percent   the same of indexes
--
-- Statistics since they were last reset, of what exists now; nothing where the server does not count.
-- What is wrong with a low share is the time it takes: compare slow_statements.
--
-- Look: weekly

create or replace view ops.cache_hits as
with chunk as materialized (
    select hypertable, format('%I.%I', chunk_schema, chunk_name)::regclass::oid as relid
    from ops.relations()
    join timescaledb_information.chunks
        on format('%I.%I', hypertable_schema, hypertable_name)::regclass = relation
), part as materialized (
    select hypertable, relid from chunk
    union all
    select hypertable, compress_relid
    from chunk join _timescaledb_catalog.compression_settings as converted on converted.relid::oid = chunk.relid
    where compress_relid is not null
), server as (
    -- The embedded server counts nothing, not even transactions.
    select xact_commit > 0 as counts from pg_stat_database where datname = current_database()
)
select
    coalesce(hypertable, '(other)') as hypertable,
    sum(heap_blks_hit) filter (where counts)::bigint as table_hits,
    sum(heap_blks_read) filter (where counts)::bigint as table_reads,
    round(100.0 * sum(heap_blks_hit) / nullif(sum(heap_blks_hit + heap_blks_read), 0), 1) as table_percent,
    sum(idx_blks_hit) filter (where counts)::bigint as index_hits,
    sum(idx_blks_read) filter (where counts)::bigint as index_reads,
    round(100.0 * sum(idx_blks_hit) / nullif(sum(idx_blks_hit + idx_blks_read), 0), 1) as index_percent
from pg_statio_all_tables
left join part using (relid)
cross join server
group by part.hypertable
order by sum(heap_blks_read + coalesce(idx_blks_read, 0)) desc, 1;
