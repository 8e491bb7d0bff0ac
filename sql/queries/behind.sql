-- GET /health/ready: how long ago what each aggregate has taken in ends; null before its first refresh, and
-- where that was before anybody's time: it has taken in nothing.
select
    name::text,
    extract(epoch from now() - case when lower(range) > '0001-01-01' then lower(range) end)::float8
        as behind_seconds
from (
    select view_name, unnest(range_agg(tstzrange(stale_from, stale_until)))
    from stale_ranges
    group by view_name
) as stale (name, range)
where upper(range) = 'infinity'
order by name
