"""GET /tallymark.js: the script that sites embed, that of client/snippet/ without its comments."""

import gzip
import re
from functools import lru_cache
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.access.keys import PREFIXES, is_formed
from service.pages import CLIENT, digest, unless_known

SOURCE = CLIENT / "snippet" / "tallymark.js"

PATH = "events/batch"
"""Where the script sends to."""
KEYS_KEPT = 256
"""For so many keys the script is not made anew."""

HEADERS = {
    # For an hour no page asks. After it, a page takes the copy it has, and asks beside it: nobody
    # waits for it, and visitors that come back are counted through an outage.
    "Cache-Control": "public, max-age=3600, stale-while-revalidate=604800",
    "Vary": "Accept-Encoding",
    # It is for everybody: pages that are isolated, or check its hash, may load it too.
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}


def without_comments(source: str) -> str:
    """Return a script without lines of comment, indentation, and blanks that say nothing.

    No text in it may hold an operator between blanks, a comma or colon before one, a brace beside
    one, or end a line with what opens a block.
    """
    lines = (line.strip() for line in source.splitlines())
    script = "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))
    # After these a line end is a blank; elsewhere it may end a statement.
    script = re.sub(r"(?<=[{(,;])\n", "", script)
    script = re.sub(r" (=>?|[=<>!]=|&&|\|\||[*?:<]) ", r"\1", script)
    return re.sub(r"(?<=[,:{]) | (?=\})", "", script)


def compressed(script: str) -> bytes:
    """Return a script as gzip; the same one has the same bytes."""
    return gzip.compress(script.encode(), mtime=0)


class Served(NamedTuple):
    """The script as it is answered."""

    plain: bytes
    zipped: bytes
    etag: str


def served(script: str) -> Served:
    """Return a script's forms."""
    plain = script.encode()
    # Weak, since it is that of both forms.
    etag = f'W/"{digest(plain)}"'
    return Served(plain, compressed(script), etag)


def routes() -> list[Route]:
    """Return the route of the script."""
    script = without_comments(SOURCE.read_text("utf-8"))

    @lru_cache(KEYS_KEPT)
    def with_key(key: str) -> Served:
        return served(script.replace(PATH, f"{PATH}?key={key}") if key else script)

    async def get_snippet(request: Request) -> Response:
        key = request.query_params.get("key", "")
        # What could not be one has no place in a script.
        is_key = key.startswith(PREFIXES["write"]) and is_formed(key.encode())
        plain, zipped, etag = with_key(key if is_key else "")
        headers = HEADERS | {"ETag": etag}
        zip_taken = "gzip" in request.headers.get("accept-encoding", "")
        response = Response(
            zipped if zip_taken else plain,
            headers=headers | ({"Content-Encoding": "gzip"} if zip_taken else {}),
            media_type="text/javascript",
        )
        return unless_known(request, response)

    return [Route("/tallymark.js", get_snippet)]
