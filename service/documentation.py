"""GET /openapi.json, made from the models that validate, and GET /docs, which shows it."""

from importlib.resources import as_file, files
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from service import __version__
from service.analytics.parameters import CountQuery, RangeQuery
from service.events import EVENT_TYPES, EventBody
from service.problems import Problem, ProblemKind

SCHEMAS = "#/components/schemas/{model}"

PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:tallymark:problem:invalid-event"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string", "examples": ["payload.url"]},
                    "message": {"type": "string", "examples": ["Field required"]},
                },
            },
        },
        "request_id": {"type": "string", "description": "As in the log and in X-Request-ID"},
        "event_id": {
            "type": "string",
            "format": "uuid",
            "description": "With 503: sending the event again with this id stores it once",
        },
        "server_time": {
            "type": "string",
            "format": "date-time",
            "description": "Where a given event_id is refused for its time",
        },
    },
}
ACCEPTED_SCHEMA = {
    "type": "object",
    "required": ["event_id", "timestamp"],
    "properties": {
        "event_id": {"type": "string", "format": "uuid", "description": "A UUIDv7"},
        "timestamp": {
            "type": "string",
            "format": "date-time",
            "description": "The millisecond that the event_id holds, UTC",
        },
    },
}
COUNT = {"type": "integer", "minimum": 0}
TOTAL_SCHEMA = {
    "type": "object",
    "required": ["total_events"],
    "properties": {"total_events": COUNT},
}
BY_TYPE_SCHEMA = {
    "type": "object",
    "description": "Types with no events are left out",
    "properties": {name: {"type": "integer", "minimum": 1} for name in EVENT_TYPES},
    "additionalProperties": False,
}
LIVE_SCHEMA = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"enum": ["live"]}},
}
READY_SCHEMA = {
    "type": "object",
    "required": ["status", "behind_seconds"],
    "properties": {
        "status": {"enum": ["ready"]},
        "behind_seconds": {
            "type": ["object", "null"],
            "description": "By aggregate, how long ago what it has taken in ends: null before its "
            "first refresh, and for all while the database does not say. Counts are exact anyway",
            "additionalProperties": {"type": ["number", "null"]},
            "examples": [{"event_counts_minute": 75.2, "event_counts_quarter_hour": 1090.2}],
        },
    },
}

EXAMPLES: dict[str, Any] = {
    event_type: {"value": {"user_id": "user-42", "event_type": event_type, "payload": payload}}
    for event_type, payload in {
        "view": {"url": "https://example.com/", "title": "Home"},
        "click": {"element_id": "buy", "text": "Buy now", "xpath": "//main/button[1]"},
        "location": {"latitude": 52.52, "longitude": 13.405, "accuracy": 12.5},
    }.items()
}

RETRY_AFTER = {"description": "Seconds", "schema": {"type": "integer"}}

DEFECT, UNREACHABLE = ProblemKind.DEFECT, ProblemKind.COUNTS_UNAVAILABLE
INVALID_QUERY = ProblemKind.INVALID_QUERY


def openapi() -> dict[str, Any]:
    """Return the API's description, OpenAPI 3.1."""
    event = EventBody.json_schema(ref_template=SCHEMAS)
    paths = {
        "/events": {"post": _post_event()},
        "/analytics/event-counts": {
            "get": _get(
                "countEvents",
                "How many events",
                TOTAL_SCHEMA,
                INVALID_QUERY,
                UNREACHABLE,
                query=CountQuery,
            )
        },
        "/analytics/event-counts-by-type": {
            "get": _get(
                "countEventsByType",
                "How many events of each type",
                BY_TYPE_SCHEMA,
                INVALID_QUERY,
                UNREACHABLE,
                query=RangeQuery,
            )
        },
        "/health/live": {"get": _get("isLive", "Whether the service runs", LIVE_SCHEMA)},
        "/health/ready": {
            "get": _get(
                "isReady",
                "Whether events can be kept now",
                READY_SCHEMA,
                ProblemKind.NOT_READY,
            )
        },
    }
    for path, operations in paths.items():
        for operation in operations.values():
            operation["tags"] = [path.split("/")[1]]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallymark",
            "version": __version__,
            "summary": "Web-analytics events, and exact counts of them over any range",
        },
        "paths": paths,
        "components": {
            "schemas": {**event.pop("$defs"), "Event": event, "Problem": PROBLEM_SCHEMA}
        },
    }


def _post_event() -> dict[str, Any]:
    return {
        "summary": "Store an event",
        "description": "The answer comes once the event is committed.",
        "operationId": "postEvent",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema("Event"), "examples": EXAMPLES}},
        },
        "responses": {
            "202": _answer("The event is stored", ACCEPTED_SCHEMA),
            **_problems(
                ProblemKind.INVALID_EVENT,
                ProblemKind.BODY_TIMEOUT,
                ProblemKind.BODY_TOO_LARGE,
                ProblemKind.NOT_JSON,
                ProblemKind.DEFECT,
                ProblemKind.NOT_STORED,
            ),
        },
    }


def _get(
    operation_id: str,
    summary: str,
    schema: dict[str, Any],
    *problems: ProblemKind,
    query: type[BaseModel] | None = None,
) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": operation_id,
        "parameters": [] if query is None else _parameters(query),
        "responses": {"200": _answer("OK", schema), **_problems(*problems, DEFECT)},
    }


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    properties = query.model_json_schema(ref_template=SCHEMAS)["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": schema.pop("description"),
            "schema": _without_null(schema),
        }
        for name, schema in properties.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    # A parameter that is left out is None in the model; nobody can send null in a query string.
    schema = {key: value for key, value in schema.items() if key != "title" and value is not None}
    alternatives = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    if len(alternatives) != 1:
        return schema
    return {
        **{key: value for key, value in schema.items() if key != "anyOf"},
        **alternatives[0],
    }


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problems(*kinds: ProblemKind) -> dict[str, Any]:
    return {
        str(kind.status): {
            "description": kind.title,
            "content": {
                "application/problem+json": {
                    "schema": _schema("Problem"),
                    "example": Problem(kind, "What was wrong, in a sentence.").document(),
                }
            },
            **({} if kind.retry_after is None else {"headers": {"Retry-After": RETRY_AFTER}}),
        }
        for kind in kinds
    }


def _schema(name: str) -> dict[str, str]:
    return {"$ref": SCHEMAS.format(model=name)}


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tallymark API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" href="/docs/assets/favicon-32x32.png">
</head>
<body>
<div id="api"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#api", validatorUrl: null, deepLinking: true })
</script>
</body>
</html>
"""


def routes() -> list[Route | Mount]:
    """Return the routes of the API's description."""
    description = openapi()

    async def get_openapi(_: Request) -> Response:
        return JSONResponse(description)

    async def get_docs(_: Request) -> Response:
        return HTMLResponse(PAGE)

    # Swagger UI's files come with the package swagger-ui-py: nothing is loaded from elsewhere.
    with as_file(files("swagger_ui") / "static") as assets:
        static = StaticFiles(directory=assets)
    return [
        Route("/openapi.json", get_openapi),
        Route("/docs", get_docs),
        Mount("/docs/assets", static),
    ]
