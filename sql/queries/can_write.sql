-- Writer: is this a session that may write, and has the schema come as far as this migration?
select
    current_setting('transaction_read_only') = 'off',
    exists (select from schema_migrations where version = %s)
