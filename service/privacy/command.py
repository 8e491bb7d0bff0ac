"""`python -m service users`: all that is kept of a user, in the terminal."""

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import psycopg
from psycopg.errors import InsufficientPrivilege
from pydantic import ValidationError

from service.database.failures import first_line
from service.database.migrations import DatabaseError, connect_or_explain
from service.privacy.endpoints import EXPORT_USER
from service.privacy.erasure import Erased, Erasure
from service.privacy.parameters import UserQuery
from service.reading.exports import Exports
from service.settings import Settings

Result = TypeVar("Result")


class UserError(Exception):
    """There is no such user id; the text is one plain line."""


def export(settings: Settings, user_id: str, site: int | None) -> None:
    """Print what is kept of a user, a JSON document a line. Raises UserError, DatabaseError."""
    query = _query(user_id, site)
    exports = Exports(
        _owners_url(settings), connections=1, deadline_seconds=settings.export_deadline_seconds
    )

    async def copy() -> None:
        async with aclosing(exports.copied(EXPORT_USER, query.values())) as blocks:
            async for block in blocks:
                sys.stdout.buffer.write(block)
        sys.stdout.flush()

    _run(copy(), "The export failed")


def erase(settings: Settings, user_id: str, site: int | None) -> Erased:
    """Erase a user and return how much that was. Raises UserError, DatabaseError."""
    query = _query(user_id, site)
    erasure = Erasure(_owners_url(settings), settings.spool_directory, query)
    try:
        return _run(erasure.run(), "The erasure is not finished")
    except DatabaseError as error:
        done = f"{erasure.erased.events} events are erased; the same command does the rest."
        raise DatabaseError(f"{error} {done}") from error


def _query(user_id: str, site: int | None) -> UserQuery:
    try:
        return UserQuery(user_id=user_id, site=site)
    except ValidationError as error:
        found = error.errors()[0]
        message = found["msg"].removeprefix("Value error, ")
        raise UserError(f"This {found['loc'][0]} is none: {message}.") from None


def _owners_url(settings: Settings) -> str:
    connect_or_explain(settings.owners_url).close()
    return settings.owners_url


def _run(work: Coroutine[Any, Any, Result], purpose: str) -> Result:
    try:
        return asyncio.run(work)
    except InsufficientPrivilege as error:
        remedy = "give the owner's URL in MIGRATION_DATABASE_URL (docs/privacy.md)"
        raise DatabaseError(f"{purpose}: {first_line(error)}: {remedy}.") from error
    except (psycopg.Error, OSError, TimeoutError) as error:
        raise DatabaseError(f"{purpose}: {first_line(error)}.") from error
