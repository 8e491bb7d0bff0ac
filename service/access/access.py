"""All of access, as the settings want it."""

import secrets
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import structlog
from starlette.routing import Route

from service.access.checks import Admission, Guard, KeyCheck
from service.access.cookies import Cookies
from service.access.files import KeysFile, kept_secret
from service.access.keys import Kind
from service.access.limits import LateEvents, Rates
from service.access.login import Login
from service.access.ring import Keyring
from service.database.failures import first_line
from service.settings import Settings

log = structlog.get_logger()


class Access:
    """What guards the routes. Where nothing is to be guarded, they stay as they are."""

    def __init__(self, settings: Settings) -> None:
        self.parts: list[AbstractAsyncContextManager[Any]] = []
        """To be entered while the service runs."""
        self._keys: KeyCheck | None = None
        self._login: Login | None = None
        if settings.keys_required:
            self._require_keys(settings)
        self._rates = _rates(settings)
        origins = {origin.encode() for origin in settings.cors_allowed_origins} - {b"*"}
        self.admission: Admission | None = None
        """Of events; None: all are taken."""
        if self._keys or self._rates or origins:
            self.admission = Admission(keys=self._keys, rates=self._rates, origins=origins)
        self.late_events = _late_events(settings)

    def _require_keys(self, settings: Settings) -> None:
        directory = settings.spool_directory
        # Without a spool no event is taken while the database is away.
        file = KeysFile(directory, settings.database_url) if settings.spool_bytes else None
        ring = Keyring(settings.database_url, file, refresh_seconds=settings.keys_refresh_seconds)
        cookies = Cookies(_secret(settings), hours=settings.login_hours)
        self._keys = KeyCheck(ring, cookies)
        self._login = Login(self._keys, cookies)
        self.parts.append(ring.refreshed())

    def require(
        self, kind: Kind, routes: Sequence[Route], *, every_site: bool = False
    ) -> list[Route]:
        """Return routes that take only requests with a key that may do what a `kind` key may.

        They are about the site of the key; those of `every_site` take a key of all of them.
        """
        if self._keys or self._rates:
            for route in routes:
                route.app = Guard(
                    route.app, kind, keys=self._keys, rates=self._rates, every_site=every_site
                )
        return list(routes)

    def behind_login(self, pages: list[Route]) -> list[Route]:
        """Return the routes of pages, with those of the login where one is needed."""
        return pages if self._login is None else self._login.before(pages) + self._login.routes()


def _rates(settings: Settings) -> Rates | None:
    key, address = settings.key_requests_per_second, settings.address_requests_per_second
    if key is None and address is None:
        return None
    return Rates(key_per_second=key, address_per_second=address)


def _late_events(settings: Settings) -> LateEvents | None:
    if settings.late_events_per_minute is None:
        return None
    return LateEvents(
        per_minute=settings.late_events_per_minute, after_minutes=settings.late_after_minutes
    )


def _secret(settings: Settings) -> bytes:
    """Return what cookies are signed with: given, or made once and kept beside the spool."""
    if settings.login_secret is not None:
        return settings.login_secret.get_secret_value().encode()
    try:
        return kept_secret(settings.spool_directory / "login-secret")
    except OSError as error:
        log.warning("logins end with this process: set LOGIN_SECRET", error=first_line(error))
        return secrets.token_bytes(32)
