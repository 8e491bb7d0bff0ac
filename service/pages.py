"""The pages of client/, as they are there: GET /demo/, the example page, and GET /dashboard/."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

CLIENT = Path(__file__).parents[1] / "client"

DASHBOARD = "/dashboard"
OWN_FILES_ONLY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'"
}
"""The dashboard has no script and no style in its page, and takes nothing from elsewhere."""

Endpoint = Callable[[Request], Awaitable[Response]]


def routes() -> list[Route]:
    """Return the routes of the pages, and of what leads to them."""
    return [
        Route("/", leading_to(DASHBOARD)),
        *page("/demo", CLIENT),
        Route(DASHBOARD + "/vendor/{name:path}", file_of(CLIENT / "vendor")),
        *page(DASHBOARD, CLIENT / "dashboard", OWN_FILES_ONLY),
    ]


def page(path: str, folder: Path, headers: dict[str, str] | None = None) -> list[Route]:
    """Return the routes of a folder's page and files; all are answered with these headers."""
    endpoint = file_of(folder, headers or {})
    return [
        # With the slash: the page's relative URLs, and its worker's scope, are below it.
        Route(path, leading_to(path)),
        Route(f"{path}/", endpoint),
        Route(f"{path}/{{name}}", endpoint),
    ]


def leading_to(path: str) -> Endpoint:
    """Return what leads to a page, with the query that says what it shows."""

    async def lead(request: Request) -> Response:
        query = request.url.query
        return RedirectResponse(f"{path}/?{query}" if query else f"{path}/")

    return lead


def file_of(folder: Path, headers: dict[str, str] | None = None) -> Endpoint:
    """Return what answers a file of a folder, its page if none is named."""
    files = StaticFiles(directory=folder)

    async def get_file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        response = await files.get_response(name, request.scope)
        # Asked for again each time, and answered 304: an old worker must not stay.
        response.headers.update({"Cache-Control": "no-cache"} | (headers or {}))
        return response

    return get_file
