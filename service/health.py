"""GET /health/live and /health/ready: for load balancers and container engines."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.ingest.writer import Writer
from service.problems import Problem, ProblemKind


def routes(writer: Writer) -> list[Route]:
    """Return the routes of health."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        if writer.full:
            raise Problem(ProblemKind.NOT_READY, "Too many events are waiting to be stored.")
        if writer.away is not None:
            raise Problem(ProblemKind.NOT_READY, "The database can't be written to.")
        return JSONResponse({"status": "ready"})

    return [Route("/health/live", live), Route("/health/ready", ready)]
