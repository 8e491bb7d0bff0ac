"""GET /demo/: the example page of client/, as it is there."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

CLIENT = Path(__file__).parents[1] / "client"


def routes() -> list[Route]:
    """Return the routes of the example page."""
    files = StaticFiles(directory=CLIENT)

    async def lead_to_demo(_: Request) -> Response:
        # With the slash: the page's relative URLs, and its worker's scope, are below it.
        return RedirectResponse("/demo/")

    async def get_demo(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        response = await files.get_response(name, request.scope)
        # Asked for again each time, and answered 304: an old worker must not stay.
        response.headers["Cache-Control"] = "no-cache"
        return response

    return [
        Route("/demo", lead_to_demo),
        Route("/demo/", get_demo),
        Route("/demo/{name}", get_demo),
    ]
