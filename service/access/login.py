"""GET and POST /login, POST /logout: a form that takes a key that reads, and gives a cookie."""

from html import escape
from urllib.parse import parse_qsl, quote

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from service.access.checks import MAY, KeyCheck, is_own_origin
from service.access.cookies import Cookies
from service.events import DEFAULT_SITE
from service.headers import header
from service.ingest.bodies import BODY_SECONDS, BodyRules, media_type_of, read_body
from service.ingest.patience import Patience
from service.ingest.room import Room
from service.pages import CLIENT, DASHBOARD, file_of
from service.problems import Problem, ProblemKind

LOGIN = "/login"
START = f"{DASHBOARD}/"
FOLDER = CLIENT / "login"
FORM = BodyRules("form", 4096, types=("application/x-www-form-urlencoded",))
FORMS_AT_ONCE = 64
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
}
NOT_VALID = "This is no key that is valid."
NOT_FOR_READING = "This key does not read: take a read key."


class Login:
    """The form, and the door that leads to it."""

    def __init__(self, keys: KeyCheck, cookies: Cookies) -> None:
        self._keys = keys
        self._cookies = cookies
        self._patience = Patience(BODY_SECONDS)
        self._room = Room(FORMS_AT_ONCE * FORM.max_bytes)
        self._page = (FOLDER / "login.html").read_text("utf-8")

    def routes(self) -> list[Route]:
        """Return the routes of logging in and out."""
        return [
            Route(LOGIN, self.show),
            Route(LOGIN, self.log_in, methods=["POST"]),
            Route("/login/{name}", file_of(FOLDER)),
            Route("/logout", self.log_out, methods=["POST"]),
        ]

    def before(self, routes: list[Route]) -> list[Route]:
        """Return the routes, of which that of the dashboard leads to the form at first."""
        for route in routes:
            if route.path == START:
                route.app = Door(route.app, self._keys)
        return routes

    async def show(self, request: Request) -> Response:
        """Answer the form; to who has logged in, the one that logs out."""
        following = _following(request.query_params.get("next", ""))
        return self._form(following, logged_in=self._keys.by_cookie(request.scope) is not None)

    async def log_in(self, request: Request) -> Response:
        """Give the cookie, and lead to the dashboard."""
        form = await self._read(request)
        following = _following(form.get("next", ""))
        try:
            key = await self._keys.valid(form.get("key", "").strip().encode())
        except Problem as problem:
            if problem.kind is not ProblemKind.KEY_REQUIRED:
                raise
            return self._form(following, NOT_VALID, 401)
        if key.kind not in MAY["read"]:
            return self._form(following, NOT_FOR_READING, 403)
        response = RedirectResponse(following, 303)
        self._cookies.give(response, key, request.scope)
        return response

    async def log_out(self, request: Request) -> Response:
        """Take the cookie away."""
        await self._read(request)
        response = RedirectResponse(LOGIN, 303)
        self._cookies.take_away(response)
        return response

    async def _read(self, request: Request) -> dict[str, str]:
        """Return the fields of a form that is one of ours. Raises Problem."""
        _refuse_other_pages(request.scope)
        media_type_of(request.scope, FORM)
        body = await read_body(request.scope, request.receive, FORM, self._patience, self._room)
        return dict(parse_qsl(body.decode("utf-8", "replace")))

    def _form(
        self, following: str, wrong: str = "", status: int = 200, *, logged_in: bool = False
    ) -> Response:
        page = self._page.format(
            next=escape(following),
            wrong=f'<p id="wrong" role="alert">{escape(wrong)}</p>' if wrong else "",
            described=' aria-invalid="true" aria-describedby="wrong"' if wrong else "",
            logged_out="hidden" if logged_in else "",
            logged_in="" if logged_in else "hidden",
        )
        return HTMLResponse(page, status, HEADERS)


class Door:
    """Around the dashboard's page: leads to the form who has not logged in.

    Who has, with a key of a site, is led to that one: the page shows the first where none is named.
    """

    def __init__(self, app: ASGIApp, keys: KeyCheck) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        key = self._keys.by_cookie(scope)
        query = scope["query_string"].decode("latin-1")
        app = self._app
        if key is None:
            app = RedirectResponse(f"{LOGIN}?next={quote(_with_query(query))}", 303)
        elif key.site_id not in (None, DEFAULT_SITE) and not QueryParams(query).get("site"):
            own = f"{query}&site={key.site_id}" if query else f"site={key.site_id}"
            app = RedirectResponse(_with_query(own), 303)
        await app(scope, receive, send)


def _with_query(query: str) -> str:
    return f"{START}?{query}" if query else START


def _following(path: str) -> str:
    """Return where a login leads: a path of the dashboard, and never another host."""
    is_ours = path.startswith(START) and path.isascii() and path.isprintable()
    return path if is_ours and "\\" not in path else START


def _refuse_other_pages(scope: Scope) -> None:
    """Raise Problem where a browser says that another origin's page has sent the form."""
    fetched_from = header(scope, b"sec-fetch-site")
    if fetched_from is not None:
        own = fetched_from in (b"same-origin", b"none")
    else:
        origin = header(scope, b"origin")
        own = origin is None or is_own_origin(origin, scope)
    if not own:
        raise Problem(ProblemKind.ORIGIN_NOT_ALLOWED, "The form is of another page.")
