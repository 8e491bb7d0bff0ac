-- GET /events/export: a spreadsheet takes text that begins with one of these characters for a
-- formula, so an apostrophe goes before it; and before an apostrophe, so that it can be undone.
copy (
    select
        event_id,
        replace(
            to_char(timestamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '000Z', 'Z'
        ) as timestamp,
        site_id as site,
        case when user_id ~ e'^[-=+@''\t\r\n＝＋－＠]' then '''' || user_id else user_id end as user_id,
        event_type,
        payload
    from events
    where site_id = %(site)s::smallint
      and timestamp >= coalesce(%(range_start)s::timestamptz, '-infinity')
      and timestamp < coalesce(%(range_end)s::timestamptz, 'infinity')
      and (%(any_user)s::boolean or events.user_id = current_setting('tallymark.user_id'))
      and (%(event_type)s::event_type is null or event_type = %(event_type)s::event_type)
    order by events.timestamp, event_id
) to stdout (format csv, header, encoding 'utf8')
