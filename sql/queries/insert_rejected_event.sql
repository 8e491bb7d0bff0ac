-- Writer: an event that the database refused.
insert into rejected_events (event_id, site_id, sqlstate, reason, body)
values (%(event_id)s, %(site)s, %(sqlstate)s, %(reason)s, %(body)s)
on conflict do nothing
