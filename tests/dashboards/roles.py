"""Roles for a test: they are the whole server's, so that their names must be its own."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg import errors, sql

from tests.support.databases import Database

_numbers = itertools.count(1)


@contextmanager
def temporary_role(connection: Database, options: str = "nologin") -> Iterator[str]:
    """Yield the name of a new role; afterwards what it owns in this database goes with it."""
    name = f"tallymark_test_{os.getpid()}_{next(_numbers)}"
    role = sql.Identifier(name)
    connection.execute(f"create role {name} {options}".encode())
    try:
        yield name
    finally:
        connection.execute("reset role")
        for _ in range(10):
            # One of its jobs may be running.
            with suppress(errors.DeadlockDetected):
                connection.execute(sql.SQL("drop owned by {} cascade").format(role))
                break
        connection.execute(sql.SQL("drop role {}").format(role))


@contextmanager
def rights_of(connection: Database, role: str) -> Iterator[None]:
    """Let a connection have no more rights than a role has."""
    connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    try:
        yield
    finally:
        connection.execute("reset role")
