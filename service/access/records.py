"""Sites and keys in the database: made, listed, changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from psycopg.rows import class_row

from service.access.keys import Kind, hash_of, id_of, new_key
from service.database.failures import first_line
from service.database.migrations import connect_or_explain

NEW_KEY = """
insert into keys (id, kind, site_id, hash, label, expires_at)
values (%(id)s, %(kind)s, %(site_id)s, %(hash)s, %(label)s, now() + %(life)s)
"""
SITES = "select id, name, created_at from sites order by id"
SITE = "select id from sites where %(site)s in (id::text, name)"
KEYS = """
select keys.id, kind, site_id, sites.name as site, label, keys.created_at, expires_at, revoked_at,
       revoked_at is null and coalesce(expires_at > now(), true) as is_live
from keys left join sites on sites.id = site_id
order by keys.created_at
"""


class AccessError(Exception):
    """Sites or keys can't be changed so; the text is one plain line that says what to do."""


class Site(NamedTuple):
    """A row of sites."""

    id: int
    name: str
    created_at: datetime


class KeyRecord(NamedTuple):
    """A row of keys, as people see it."""

    id: str
    kind: Kind
    site_id: int | None
    site: str | None
    """Its name; None: all of them."""
    label: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    is_live: bool


class Records:
    """Sites and keys, over a connection. Its methods raise AccessError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all_sites(self) -> list[Site]:
        """Return all sites."""
        return self._connection.cursor(row_factory=class_row(Site)).execute(SITES).fetchall()

    def create_site(self, name: str) -> int:
        """Return the id of a new site."""
        with _name_is_checked(name):
            return int(self._value("insert into sites (name) values (%s) returning id", name))

    def rename_site(self, site: str, name: str) -> int:
        """Give a site another name; return its id."""
        site_id = self.site_id(site)
        with _name_is_checked(name):
            self._connection.execute("update sites set name = %s where id = %s", [name, site_id])
        return site_id

    def site_id(self, site: str) -> int:
        """Return the id of the site of that name, or of that id."""
        row = self._connection.execute(SITE, {"site": site}).fetchone()
        if row is None:
            raise AccessError(f"There is no site {site!r}: see `python -m service sites list`.")
        return int(row[0])

    def all_keys(self) -> list[KeyRecord]:
        """Return all keys, those too that are no longer valid."""
        return self._connection.cursor(row_factory=class_row(KeyRecord)).execute(KEYS).fetchall()

    def create_key(
        self, kind: Kind, site_id: int | None, label: str, life: timedelta | None = None
    ) -> str:
        """Return a new key, of one site or of all; nobody can learn it later."""
        if kind == "write" and site_id is None:
            raise AccessError("A write key is for one site, which its events are of: give --site.")
        key = new_key(kind)
        values = {"id": id_of(key), "kind": kind, "site_id": site_id, "label": label, "life": life}
        self._connection.execute(NEW_KEY, values | {"hash": hash_of(key.encode())})
        return key

    def rotate(self, key_id: str, grace: timedelta) -> str:
        """Return a new key for the same, and let the old one live for some time still."""
        with self._connection.transaction():
            old = self._live(key_id)
            self._connection.execute(
                "update keys set expires_at = least(expires_at, now() + %s) where id = %s",
                [grace, key_id],
            )
            life = None if old.expires_at is None else old.expires_at - old.created_at
            return self.create_key(old.kind, old.site_id, old.label, life)

    def revoke(self, key_id: str) -> None:
        """Let a key be valid no longer."""
        self._live(key_id)
        self._connection.execute("update keys set revoked_at = now() where id = %s", [key_id])

    def _live(self, key_id: str) -> KeyRecord:
        found = next((key for key in self.all_keys() if key.id == key_id), None)
        if found is None:
            raise AccessError(f"There is no key {key_id!r}: see `python -m service keys list`.")
        if not found.is_live:
            raise AccessError(f"The key {key_id} is not valid any more: create another.")
        return found

    def _value(self, statement: str, *values: Any) -> Any:
        row = self._connection.execute(statement.encode(), values).fetchone()
        return None if row is None else row[0]


@contextmanager
def records(database_url: str) -> Iterator[Records]:
    """Yield the sites and keys of a database. Raises AccessError, DatabaseAwayError."""
    with connect_or_explain(database_url) as connection:
        try:
            yield Records(connection)
        except psycopg.errors.UndefinedTable:
            raise AccessError(
                "The database has no sites and keys yet: run `python -m service migrate`."
            ) from None
        except UnicodeEncodeError:
            raise AccessError("What was given is not text in UTF-8.") from None
        except psycopg.Error as error:
            raise AccessError(f"The database refused it: {first_line(error)}.") from None


@contextmanager
def _name_is_checked(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.UniqueViolation:
        raise AccessError(f"There is a site {name!r} already.") from None
    except psycopg.errors.CheckViolation:
        raise AccessError(
            "A site's name has 1 to 100 characters, and is neither a number nor all."
        ) from None
    except psycopg.errors.SequenceGeneratorLimitExceeded:
        raise AccessError("There are as many sites as there can be: 32,767.") from None
