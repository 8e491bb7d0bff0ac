-- GET /analytics/top-pages: a null bound is an open end.
select path, view_count
from top_pages(
    %(range_start)s::timestamptz, %(range_end)s::timestamptz, %(site)s::smallint, %(limit)s
)
