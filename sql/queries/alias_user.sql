-- Erasure: the id in aggregates of events that retention let go.
select alias_user(%(user_id)s::text, %(site)s::smallint)
