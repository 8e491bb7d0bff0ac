-- Writer: one row an array element; rows that are there already are left alone, and not returned.
insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
select timestamp, event_id, site_id, user_id, event_type::event_type, payload
from unnest(
    $1::timestamptz[], $2::uuid[], $3::smallint[], $4::text[], $5::text[], $6::jsonb[]
) as event (timestamp, event_id, site_id, user_id, event_type, payload)
on conflict do nothing
returning event_id
