"""The cookie of who has logged in: it names a key, is signed, and lives no longer than the key."""

import hashlib

from itsdangerous import BadData, TimestampSigner
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import Scope

from service.access.keys import Key
from service.headers import header

COOKIE = "tallymark_login"
HOUR = 3600


class Cookies:
    """Makes such cookies, and reads them."""

    def __init__(self, secret: bytes, *, hours: int) -> None:
        self._signer = TimestampSigner(
            secret, salt=COOKIE, key_derivation="hmac", digest_method=hashlib.sha256
        )
        self._seconds = hours * HOUR

    def give(self, response: Response, key: Key, scope: Scope) -> None:
        """Let an answer log its reader in."""
        response.set_cookie(
            COOKIE,
            self._signer.sign(key.id).decode(),
            max_age=self._seconds,
            httponly=True,
            samesite="lax",
            secure=scope["scheme"] == "https",
        )

    @staticmethod
    def take_away(response: Response) -> None:
        """Let an answer log its reader out."""
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")

    def key_id(self, scope: Scope) -> str | None:
        """Return the id that a request's cookie names; None without one, or where it is forged."""
        # As browsers do it: the standard library reads none where one of another page is odd.
        given = cookie_parser((header(scope, b"cookie") or b"").decode("latin-1"))
        try:
            return self._signer.unsign(given.get(COOKIE, ""), max_age=self._seconds).decode()
        except (BadData, UnicodeError):
            return None
