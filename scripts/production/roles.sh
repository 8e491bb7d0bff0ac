#!/bin/sh
# Makes the roles of a new database for docker-compose.production.yml; their passwords are its secrets.
# The owner migrates, and the service stores and reads: see docs/deployment.md.
set -eu
secret() { cat "/run/secrets/$1"; }
OWNER_PASSWORD=$(secret owner_password) SERVICE_PASSWORD=$(secret service_password) \
    psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\getenv owner_password OWNER_PASSWORD
\getenv service_password SERVICE_PASSWORD
create extension if not exists pg_stat_statements;
create role tallymark_service nologin;
create role tallymark_privacy nologin;
create role tallymark_owner login password :'owner_password';
create role tallymark_app login password :'service_password' in role tallymark_service;
do $$ begin execute format('grant create on database %I to tallymark_owner', current_database()); end $$;
grant create on schema public to tallymark_owner;
-- The next script takes it from everybody.
grant execute on routine add_job to tallymark_owner;
SQL
GRAFANA_DB_PASSWORD=$(secret grafana_db_password) sh /usr/local/share/tallymark/grafana.sh
psql --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
    --command='grant pg_monitor to tallymark_ops'
