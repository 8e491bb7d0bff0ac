-- Access: the keys that are valid now.
select id, kind, site_id, hash, extract(epoch from expires_at)::float8
from keys
where revoked_at is null and coalesce(expires_at > now(), true)
order by id
