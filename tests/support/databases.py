"""Makes databases and empties them."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

Database = psycopg.Connection[tuple[Any, ...]]

_numbers = itertools.count(1)

# All that is ours: what belongs to no extension. An aggregate goes after those
# that are made of it, which are newer.
_OURS = """
select format('drop %s if exists %s cascade', kind, name) from (
    select -mat_hypertable_id as step, 'materialized view' as kind,
           format('%I.%I', user_view_schema, user_view_name) as name
    from _timescaledb_catalog.continuous_agg
    union all
    select 1, 'schema', 'ops'
    union all
    select 2, case relkind when 'v' then 'view' else 'table' end, oid::regclass::text
    from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')
      and not exists (select from pg_depend where objid = pg_class.oid and deptype = 'e')
    union all
    select 3, 'routine', oid::regprocedure::text
    from pg_proc
    where pronamespace = 'public'::regnamespace
      and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')
    union all
    select 4, 'type', oid::regtype::text
    from pg_type
    where typnamespace = 'public'::regnamespace and typtype = 'e'
) as ours
order by step
"""


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new, empty database on a server; drop it afterwards."""
    name = f"tallymark_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        try:
            yield url_of(server_url, name)
        finally:
            drop = sql.SQL("drop database {} with (force)").format(sql.Identifier(name))
            connection.execute(drop)


def url_of(server_url: str, name: str, *, port: int | None = None) -> str:
    """Return the URL of another database of the same server, or of a port that leads there."""
    parts = conninfo_to_dict(server_url)
    password = f":{parts['password']}" if parts.get("password") else ""
    host, port = parts.get("host", "127.0.0.1"), port or int(parts.get("port") or 5432)
    return f"postgresql://{parts.get('user', 'postgres')}{password}@{host}:{port}/{name}"


def drop_everything(url: str) -> None:
    """Empty a database, where there can be no other: on the embedded server."""
    with psycopg.connect(url, autocommit=True) as connection:
        has_extension = "select from pg_extension where extname = 'timescaledb'"
        if connection.execute(has_extension).fetchone() is None:
            return
        # A job does not go with its procedure.
        connection.execute(
            "select delete_job(job_id) from timescaledb_information.jobs "
            "where proc_schema = 'public'"
        )
        for (statement,) in connection.execute(_OURS).fetchall():
            connection.execute(statement)


@contextmanager
def blocked_table(url: str, *, native: bool) -> Iterator[None]:
    """Let nothing write to events; on one session any open transaction does that."""
    with psycopg.connect(url, autocommit=True) as other, other.transaction(force_rollback=True):
        other.execute("lock table events in access exclusive mode" if native else "select 1")
        yield
