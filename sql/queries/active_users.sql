-- GET /analytics/active-users: a null bound is an open end. One row, as that of the whole range below.
select null::date, active_users(
    %(range_start)s::timestamptz, %(range_end)s::timestamptz, %(site)s::smallint
)
