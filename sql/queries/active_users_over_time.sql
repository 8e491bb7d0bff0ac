-- GET /analytics/active-users?interval=day: the days, then the whole range, without a date. A day of
-- the years 1 to 9999 of UTC may be in another year elsewhere, which Python has no date for.
select
    case when bucket is not null then
        greatest(least((bucket at time zone %(tz)s)::date, '9999-12-31'), '0001-01-01')
    end,
    active_users
from active_users_over_time(
    %(range_start)s::timestamptz, %(range_end)s::timestamptz, %(tz)s, %(site)s::smallint
)
