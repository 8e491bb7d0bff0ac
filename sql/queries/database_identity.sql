-- Replay: which database is this?
select id::text from database_identity
