-- Which indexes are used, and which cost more than they serve?
--
-- hypertable    the hypertable, aggregate or table
-- index         its index, of all chunks together; those of columns are TimescaleDB's own
-- scans         how often a statement used it
-- rows_read     index entries that these scans returned
-- last_scan     when it was last used
-- total_bytes   its size on disk
-- keeps         unique, where it keeps rows apart: it is needed though it may never be scanned
-- status        unused when no statement used it since the statistics began, and it keeps nothing unique
--
-- Statistics since they were last reset; nothing where the server does not count.
--
-- Look: weekly

create or replace view ops.index_use as
with part as materialized (
    select hypertable, relation as parent, format('%I.%I', chunk_schema, chunk_name)::regclass::oid as relid
    from ops.relations()
    join timescaledb_information.chunks
        on format('%I.%I', hypertable_schema, hypertable_name)::regclass = relation
), own as materialized (
    -- A chunk's index has a name of its own, and the hypertable's definition.
    select indexrelid, indrelid, relname::text as name, indisunique,
           regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', '') as definition
    from pg_index
    join pg_class on pg_class.oid = indexrelid
    where indrelid in (select relid from part union all select relation from ops.relations())
       or relnamespace = 'public'::regnamespace
), whole as (
    select coalesce(hypertable, indrelid::regclass::text) as hypertable, own.*
    from own left join ops.relations() on relation = indrelid
    where indrelid not in (select relid from part)
), used as (
    select whole.hypertable, whole.name, whole.indisunique, own.indexrelid
    from own
    left join part on relid = own.indrelid
    join whole on whole.indrelid = coalesce(parent, own.indrelid) and whole.definition = own.definition
), server as (
    -- The embedded server counts nothing, not even transactions.
    select xact_commit > 0 as counts from pg_stat_database where datname = current_database()
)
select
    hypertable,
    name as index,
    sum(idx_scan) filter (where counts)::bigint as scans,
    sum(idx_tup_read) filter (where counts)::bigint as rows_read,
    max(last_idx_scan) as last_scan,
    sum(pg_relation_size(indexrelid))::bigint as total_bytes,
    case when indisunique then 'unique' end as keeps,
    case
        when not counts then null
        when sum(idx_scan) = 0 and not indisunique then 'unused'
        else 'ok'
    end as status
from used
join pg_stat_all_indexes using (indexrelid)
cross join server
group by hypertable, name, indisunique, counts
order by status desc, total_bytes desc, index;
