-- GET /analytics/event-counts and event-counts-by-type: a null bound is an open end.
select event_type::text, event_count
from event_counts(%(range_start)s::timestamptz, %(range_end)s::timestamptz, %(site)s::smallint)
