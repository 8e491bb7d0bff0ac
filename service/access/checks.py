"""Whether a request may do what it asks for: by its key, its cookie, its origin, its rate."""

from collections.abc import Container
from urllib.parse import parse_qsl, urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.cookies import Cookies
from service.access.keys import Key, Kind, id_of, is_formed
from service.access.limits import Rates
from service.access.ring import Keyring
from service.headers import header
from service.problems import Problem, ProblemKind

ANYBODY = Key("", "admin", None, b"", None)
"""Who asks where no keys are required."""

SAFE_METHODS = ("GET", "HEAD")
MAY: dict[Kind, tuple[Kind, ...]] = {
    "write": ("write",),
    "read": ("read", "admin"),
    "admin": ("admin",),
}
"""Which keys may do what a key of a kind may."""


class KeyCheck:
    """Finds the key of a request."""

    def __init__(self, ring: Keyring, cookies: Cookies) -> None:
        self._ring = ring
        self._cookies = cookies

    async def key_of(self, scope: Scope, kind: Kind) -> Key:
        """Return a request's key, which may do what `kind` may.

        It is in a header; for ingest it may be in the query, since a beacon has no headers; who
        reads may have a cookie. Raises Problem.
        """
        text = _bearer(scope)
        if text is None and kind == "write":
            text = _in_query(scope)
        if text is not None:
            key = await self.valid(text)
        elif kind == "read" and (by_cookie := self.by_cookie(scope)) is not None:
            key = by_cookie
        else:
            raise _refusal(f"Show a {kind} key in the header Authorization: Bearer KEY.")
        if key.kind not in MAY[kind]:
            raise Problem(
                ProblemKind.KEY_NOT_FOR_THIS, f"This takes a {kind} key; it is a {key.kind} key."
            )
        return key

    async def valid(self, text: bytes) -> Key:
        """Return the key of this text. Raises Problem."""
        key_id = id_of(text.decode("latin-1"))
        key = self._ring.find(key_id)
        if key is None and is_formed(text):
            # It may have been made since the keys were read.
            key = await self._ring.find_anew(key_id)
            if key is None and not self._ring.is_current:
                # To the sender of an event a 401 would be final.
                raise Problem(ProblemKind.KEYS_UNKNOWN, "Send it again later.")
        if key is None or not key.is_text(text):
            raise _refusal("The key is not valid, or no longer.", ', error="invalid_token"')
        return key

    def by_cookie(self, scope: Scope) -> Key | None:
        """Return the key that a reader has logged in with; only what changes nothing takes it."""
        if scope["method"] not in SAFE_METHODS or (key_id := self._cookies.key_id(scope)) is None:
            return None
        key = self._ring.find(key_id)
        return key if key is not None and key.kind in MAY["read"] else None


class Guard:
    """Around a route: lets requests through whose key may do what they ask for.

    One that names no site is about that of its key. Raises Problem.
    """

    def __init__(
        self,
        app: ASGIApp,
        kind: Kind,
        *,
        keys: KeyCheck | None,
        rates: Rates | None,
        every_site: bool,
    ) -> None:
        self._app = app
        self._kind = kind
        self._keys = keys
        self._rates = rates
        self._every_site = every_site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        key = await checked(scope, self._kind, self._keys, self._rates)
        if key.site_id is not None:
            if self._every_site:
                detail = "This tells of all sites: it takes a key of all of them."
                raise Problem(ProblemKind.KEY_NOT_FOR_THIS, detail)
            scope["query_string"] = _within(key.site_id, scope["query_string"])
        await self._app(scope, receive, send)


class Admission:
    """Finds out whose events a request brings, and whether they are taken."""

    def __init__(
        self, *, keys: KeyCheck | None, rates: Rates | None, origins: Container[bytes]
    ) -> None:
        self._keys = keys
        self._rates = rates
        self._origins = origins

    async def __call__(self, scope: Scope) -> Key:
        """Return the key of a request, or ANYBODY. Raises Problem."""
        # Who sends text/plain is not asked for an answer to a preflight first.
        origin = header(scope, b"origin")
        if origin is not None and not self._is_allowed(origin, scope):
            detail = "Pages of this origin may not send events: see CORS_ALLOWED_ORIGINS."
            raise Problem(ProblemKind.ORIGIN_NOT_ALLOWED, detail)
        return await checked(scope, "write", self._keys, self._rates)

    def _is_allowed(self, origin: bytes, scope: Scope) -> bool:
        return not self._origins or origin in self._origins or is_own_origin(origin, scope)


async def checked(scope: Scope, kind: Kind, keys: KeyCheck | None, rates: Rates | None) -> Key:
    """Return the key of a request, once its rates allow it. Raises Problem."""
    if rates is not None:
        rates.count_address(scope)
    if keys is None:
        return ANYBODY
    key = await keys.key_of(scope, kind)
    if rates is not None:
        rates.count_key(key)
    return key


def is_own_origin(origin: bytes, scope: Scope) -> bool:
    """Whether an origin is the service's own, as the client reached it, whatever the scheme."""
    return origin.partition(b"://")[2] == header(scope, b"host")


def _bearer(scope: Scope) -> bytes | None:
    given = header(scope, b"authorization")
    if given is None:
        return None
    scheme, _, key = given.partition(b" ")
    if scheme.lower() != b"bearer":
        raise _refusal("The header is Authorization: Bearer KEY.")
    return key.strip()


def _in_query(scope: Scope) -> bytes | None:
    # Latin-1 takes all bytes, and a key has none but ASCII's.
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    found = [value for name, value in query if name == "key"]
    if len(found) > 1:
        raise _refusal("The query has more than one key.")
    return found[0].encode("utf-8", "replace") if found else None


def _within(site_id: int, query: bytes) -> bytes:
    """Return a query that is about a site. Raises Problem where it is about another."""
    # As the endpoints read it.
    sites = [
        value
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        if name == "site"
    ]
    # What is no number is refused by them. It may have thousands of digits.
    own_number = str(site_id)
    if any(site.isascii() and site.isdigit() and site.lstrip("0") != own_number for site in sites):
        detail = f"The key is for site {site_id} only."
        raise Problem(ProblemKind.KEY_NOT_FOR_THIS, detail)
    if sites:
        return query
    own = urlencode({"site": own_number}).encode()
    return query + b"&" + own if query else own


def _refusal(detail: str, why: str = "") -> Problem:
    challenge = {"WWW-Authenticate": f'Bearer realm="tallymark"{why}'}
    return Problem(ProblemKind.KEY_REQUIRED, detail, headers=challenge)
