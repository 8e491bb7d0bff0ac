-- Erasure: some of a user's events; a null site is all of them.
select erase_user_events(
    %(user_id)s::text, %(range_start)s::timestamptz, %(range_end)s::timestamptz,
    %(site)s::smallint, %(most)s::integer
)
