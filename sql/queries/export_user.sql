-- GET /users/export: a user's events, oldest first, then those that were refused; see export_ndjson.
copy (
    select line
    from (
        select 1 as part, events.timestamp as at, events.event_id, row_to_json(shown) as line
        from events
        cross join lateral (
            select
                event_id,
                replace(
                    to_char(events.timestamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                    '000Z', 'Z'
                ) as timestamp,
                site_id as site,
                user_id,
                event_type,
                payload
        ) as shown
        where events.user_id = current_setting('tallymark.user_id')
          and (%(site)s::smallint is null or site_id = %(site)s::smallint)
        union all
        select 2, rejects.rejected_at, rejects.event_id, row_to_json(shown)
        from user_rejects(current_setting('tallymark.user_id'), %(site)s::smallint) as rejects
        cross join lateral (
            select
                event_id,
                rejected_at,
                site_id as site,
                sqlstate,
                reason,
                convert_from(body, 'UTF8') as body
        ) as shown
    ) as kept
    order by part, at, event_id
) to stdout (format csv, quote e'\x01', delimiter e'\x02', encoding 'utf8')
