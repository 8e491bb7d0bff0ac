-- Exports: whose events. COPY takes no parameters, and what stands in its text is seen in pg_stat_activity,
-- written to the server's log when it fails, and kept by pg_stat_statements: no user id may stand there.
select set_config('tallymark.user_id', %(user_id)s::text, true)
