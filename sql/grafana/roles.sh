#!/bin/sh
# Makes Grafana's role in a new database; the service's migrations grant what the two groups may read.
set -eu
psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\getenv password GRAFANA_DB_PASSWORD
create role tallymark_ops nologin;
create role tallymark_read nologin;
create role grafana login password :'password' in role tallymark_ops, tallymark_read;
alter role grafana set statement_timeout = '30s';
alter role grafana set default_transaction_read_only = on;
-- Else everybody may make jobs and temporary tables.
revoke execute on routine add_job from public;
do $$ begin execute format('revoke temporary on database %I from public', current_database()); end $$;
SQL
