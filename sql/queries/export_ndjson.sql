-- GET /events/export: one JSON document a line. What stands here for CSV's quote and delimiter are
-- control characters, which JSON holds escaped only: so nothing is ever quoted.
copy (
    select row_to_json(shown)
    from (
        select
            event_id,
            replace(
                to_char(timestamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '000Z', 'Z'
            ) as timestamp,
            site_id as site,
            user_id,
            event_type,
            payload
        from events
        where site_id = %(site)s::smallint
          and timestamp >= coalesce(%(range_start)s::timestamptz, '-infinity')
          and timestamp < coalesce(%(range_end)s::timestamptz, 'infinity')
          and (%(any_user)s::boolean or user_id = current_setting('tallymark.user_id'))
          and (%(event_type)s::event_type is null or event_type = %(event_type)s::event_type)
        order by events.timestamp, event_id
    ) as shown
) to stdout (format csv, quote e'\x01', delimiter e'\x02', encoding 'utf8')
