-- GET /analytics/top-elements: a null bound is an open end.
select element, click_count
from top_elements(
    %(range_start)s::timestamptz, %(range_end)s::timestamptz, %(site)s::smallint, %(limit)s
)
