-- Erasure: a user's events that were refused.
select erase_user_rejects(%(user_id)s::text, %(site)s::smallint)
