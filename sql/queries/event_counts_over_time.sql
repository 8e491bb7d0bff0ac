-- GET /analytics/event-counts-over-time: a row a type, starts of buckets in seconds since 1970.
select
    event_type::text,
    array_agg(extract(epoch from bucket)::bigint order by bucket),
    array_agg(event_count order by bucket)
from event_counts_over_time(
    %(bucket_width)s,
    %(range_start)s::timestamptz,
    %(range_end)s::timestamptz,
    %(tz)s,
    %(site)s::smallint
) as counts (bucket, event_type, event_count)
group by counts.event_type
order by counts.event_type
