-- GET /events, a window of a page, and GET /events/{event_id}: a null filter or bound is an open one.
select
    row_to_json(shown)::text,
    (extract(epoch from stored.timestamp) * 1000000 - 946684800000000)::bigint,
    stored.event_id
from (
    select timestamp, event_id, site_id, user_id, event_type, payload
    from events
    where site_id = %(site)s::smallint
      and timestamp >= coalesce(%(window_start)s::timestamptz, '-infinity')
      and timestamp < coalesce(%(window_end)s::timestamptz, 'infinity')
      and (timestamp, event_id) < (
          coalesce(%(before)s::timestamptz, 'infinity'),
          coalesce(%(before_id)s::uuid, '00000000-0000-0000-0000-000000000000')
      )
      and (%(event_id)s::uuid is null or event_id = %(event_id)s::uuid)
      and (%(user_id)s::text is null or user_id = %(user_id)s::text)
      and (%(event_type)s::event_type is null or event_type = %(event_type)s::event_type)
    order by timestamp desc, event_id desc
    limit %(limit)s::int
) as stored
cross join lateral (
    select
        event_id,
        replace(
            to_char(timestamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '000Z', 'Z'
        ) as timestamp,
        site_id as site,
        user_id,
        event_type,
        payload
) as shown
order by stored.timestamp desc, stored.event_id desc
