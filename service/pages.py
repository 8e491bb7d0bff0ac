"""The pages of client/, as they are there: GET /demo/, the example page, and GET /dashboard/."""

import hashlib
import mimetypes
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import NotModifiedResponse

CLIENT = Path(__file__).parents[1] / "client"

DASHBOARD = "/dashboard"
PAGE = "index.html"
_INLINE_SCRIPT = re.compile(r"<script(?: type=\"module\")?>(.*?)</script>", re.DOTALL)

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(*, login: bool = False) -> list[Route]:
    """Return the routes of the pages, and of what leads to them.

    Where there is a login, the dashboard shows how to log out.
    """
    return [
        Route("/", leading_to(DASHBOARD)),
        *page("/demo", CLIENT, connect="*"),
        Route(DASHBOARD + "/vendor/{name:path}", file_of(CLIENT / "vendor")),
        *page(DASHBOARD, CLIENT / "dashboard", shown=("log-out",) if login else ()),
    ]


def page(
    path: str, folder: Path, *, connect: str = "'self'", shown: Sequence[str] = ()
) -> list[Route]:
    """Return the routes of a folder's page and files, which may ask these hosts.

    Forms of these ids, which are hidden in the file, are shown.
    """
    text = (folder / PAGE).read_text("utf-8")
    for name in shown:
        text = re.sub(rf'(<form id="{name}"[^>]*) hidden>', r"\1>", text)
    endpoint = file_of(folder, own_files_only(text, connect=connect), page=text)
    return [
        # With the slash: the page's relative URLs, and its worker's scope, are below it.
        Route(path, leading_to(path)),
        Route(f"{path}/", endpoint),
        Route(f"{path}/{{name}}", endpoint),
    ]


def own_files_only(page: str, *, connect: str = "'self'") -> dict[str, str]:
    """Return the header by which a page loads nothing from elsewhere, and runs its own scripts.

    Scripts in the page itself are told by their hashes. `connect` is what scripts may ask.
    """
    digests = (hashlib.sha256(found.encode()).digest() for found in _INLINE_SCRIPT.findall(page))
    scripts = "".join(f" 'sha256-{b64encode(digest).decode()}'" for digest in digests)
    return {
        "Content-Security-Policy": "default-src 'none'; "
        f"script-src 'self'{scripts}; style-src 'self'; img-src 'self' data:; "
        f"connect-src {connect}; worker-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    }


def leading_to(path: str) -> Endpoint:
    """Return what leads to a page, with the query that says what it shows."""

    async def lead(request: Request) -> Response:
        query = request.url.query
        return RedirectResponse(f"{path}/?{query}" if query else f"{path}/")

    return lead


def file_of(
    folder: Path, headers: dict[str, str] | None = None, *, page: str | None = None
) -> Endpoint:
    """Return what answers a file of a folder, its page if none is named, which may be given.

    All are read now: the dashboard is made of thirty, each smaller than a look at the disk is long.
    """
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    if page is not None:
        files[PAGE] = page.encode()
    # Asked for again each time, and answered 304: an old worker must not stay.
    common = {"Cache-Control": "no-cache"} | (headers or {})
    own = {name: common | {"ETag": f'"{digest(content)}"'} for name, content in files.items()}

    async def get_file(request: Request) -> Response:
        name = request.path_params.get("name", PAGE)
        if name not in files:
            raise HTTPException(404)
        media_type = mimetypes.guess_type(name)[0] or "text/plain"
        response = Response(files[name], headers=own[name], media_type=media_type)
        return unless_known(request, response)

    return get_file


def digest(content: bytes) -> str:
    """Return what tells a file from its other versions."""
    return hashlib.sha256(content).hexdigest()[:16]


def unless_known(request: Request, response: Response) -> Response:
    """Return a response, or 304 where the sender has one with the same ETag."""
    if response.headers["ETag"] in request.headers.get("if-none-match", ""):
        return NotModifiedResponse(response.headers)
    return response
