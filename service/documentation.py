"""GET /openapi.json, made from the models that validate, and GET /docs, which shows it."""

from importlib.resources import as_file, files
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from service import __version__
from service.access.described import SCHEMES, SNIPPET_KEY, describe_access
from service.analytics.breakdowns import ActiveUsersQuery, TopQuery
from service.analytics.parameters import CountQuery, OverTimeQuery, RangeQuery
from service.events import EVENT_TYPES, MAX_EVENT_BYTES, EventBody
from service.ingest.batches import MAX_EVENTS, MAX_VALUES
from service.ingest.bodies import BATCH
from service.pages import file_of, own_files_only
from service.privacy.parameters import UserQuery
from service.problems import Problem, ProblemKind
from service.reading.parameters import ExportQuery, PageQuery, SiteQuery

SCHEMAS = "#/components/schemas/{model}"

SERVER_TIME = {
    "type": "string",
    "format": "date-time",
    "description": "Where a given event_id is refused for its time",
}
FIELD_ERRORS_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["field", "message"],
        "properties": {
            "field": {"type": "string", "examples": ["payload.url"]},
            "message": {"type": "string", "examples": ["Field required"]},
        },
    },
}
PROBLEM_SCHEMA = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "examples": ["urn:tallymark:problem:invalid-event"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": FIELD_ERRORS_SCHEMA,
        "request_id": {"type": "string", "description": "As in the log and in X-Request-ID"},
        "event_id": {
            "type": "string",
            "format": "uuid",
            "description": "With 503: sending the event again with this id stores it once",
        },
        "event_ids": {
            "type": "array",
            "items": {"type": ["string", "null"]},
            "description": "With 503 to a batch: the same, at each event's index; null where an "
            "event is not valid",
        },
        "server_time": SERVER_TIME,
        "rejected": {
            "type": "array",
            "items": {"$ref": SCHEMAS.format(model="RejectedEvent")},
            "description": "Of a batch without a valid event",
        },
    },
}
ACCEPTED_SCHEMA = {
    "type": "object",
    "examples": [
        {
            "event_id": "019ab697-e87b-7d57-872c-f4cea7318df9",
            "timestamp": "2025-11-24T18:00:00.123Z",
        }
    ],
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
REJECTED_EVENT_SCHEMA = {
    "type": "object",
    "required": ["index", "errors"],
    "properties": {
        "index": {
            "type": "integer",
            "minimum": 0,
            "description": "Its place in the array, or among the lines that are not blank, from 0",
        },
        "errors": FIELD_ERRORS_SCHEMA,
        "server_time": SERVER_TIME,
    },
}
COUNT = {"type": "integer", "minimum": 0}
ACCEPTED_BATCH_SCHEMA = {
    "type": "object",
    "description": "The three together are what was sent",
    "examples": [
        {
            "accepted": 2,
            "duplicates": 0,
            "rejected": [
                {"index": 1, "errors": [{"field": "payload.url", "message": "Field required"}]}
            ],
        }
    ],
    "required": ["accepted", "duplicates", "rejected"],
    "properties": {
        "accepted": COUNT | {"description": "How many are stored anew"},
        "duplicates": COUNT | {"description": "How many were stored already, by their event_id"},
        "rejected": {
            "type": "array",
            "items": {"$ref": SCHEMAS.format(model="RejectedEvent")},
        },
    },
}
STORED_EVENT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "examples": [
        {
            "event_id": "019ab697-e87b-7d57-872c-f4cea7318df9",
            "timestamp": "2025-11-24T18:00:00.123Z",
            "site": 1,
            "user_id": "user-42",
            "event_type": "view",
            "payload": {"url": "https://example.com/", "title": "Home"},
        }
    ],
    "required": ["event_id", "timestamp", "site", "user_id", "event_type", "payload"],
    "properties": {
        "event_id": {"type": "string", "format": "uuid"},
        "timestamp": {
            "type": "string",
            "format": "date-time",
            "description": "UTC, to the millisecond, or the microsecond where one was stored",
        },
        "site": {"type": "integer"},
        "user_id": {"type": "string"},
        "event_type": {"enum": list(EVENT_TYPES)},
        "payload": {"description": "As it was posted; keys may be in another order"},
    },
}
PAGE_SCHEMA = {
    "type": "object",
    "examples": [{"events": STORED_EVENT_SCHEMA["examples"], "next": None}],
    "required": ["events", "next"],
    "properties": {
        "events": {"type": "array", "items": {"$ref": SCHEMAS.format(model="StoredEvent")}},
        "next": {
            "type": ["string", "null"],
            "description": "The `cursor` of the next page; null where this is the last",
        },
    },
}


def _top_schema(member: str, name: str, count: str) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [member],
        "examples": [{member: [{name: "/" if name == "path" else "buy", count: 17}]}],
        "properties": {
            member: {
                "type": "array",
                "description": f"By {count}, most first; of equal ones the first by code points",
                "items": {
                    "type": "object",
                    "required": [name, count],
                    "properties": {
                        name: {"type": "string", "maxLength": 512},
                        count: {"type": "integer", "minimum": 1},
                    },
                },
            }
        },
    }


TOTAL_SCHEMA = {
    "type": "object",
    "required": ["total_events"],
    "examples": [{"total_events": 1500}],
    "properties": {"total_events": COUNT},
}
BY_TYPE_SCHEMA = {
    "type": "object",
    "description": "Types with no events are left out",
    "examples": [{"view": 1200, "click": 250, "location": 50}],
    "properties": {name: {"type": "integer", "minimum": 1} for name in EVENT_TYPES},
    "additionalProperties": False,
}
OVER_TIME_SCHEMA = {
    "type": "object",
    "description": "Columns: the nth number of a series is that of the nth bucket",
    "required": ["interval", "tz", "buckets", "series"],
    "examples": [
        {
            "interval": "day",
            "tz": "Europe/Berlin",
            "buckets": ["2025-05-28T00:00:00+02:00", "2025-05-29T00:00:00+02:00"],
            "series": {"view": [40, 55], "click": [11, 9], "location": [0, 3]},
        }
    ],
    "properties": {
        "interval": {"type": "string"},
        "tz": {"type": "string"},
        "buckets": {
            "type": "array",
            "description": "Where each begins, with the offset of tz",
            "items": {"type": "string", "format": "date-time"},
        },
        "series": {
            "type": "object",
            "properties": {name: {"type": "array", "items": COUNT} for name in EVENT_TYPES},
            "additionalProperties": False,
        },
    },
}
TOP_PAGES_SCHEMA = _top_schema("pages", "path", "views")
TOP_ELEMENTS_SCHEMA = _top_schema("elements", "element", "clicks")
ACTIVE_USERS_SCHEMA = {
    "type": "object",
    "required": ["active_users"],
    "examples": [{"active_users": 7, "days": [{"date": "2025-05-28", "active_users": 7}]}],
    "properties": {
        "active_users": COUNT,
        "days": {
            "type": "array",
            "description": "With interval=day; users of several days are in each of them",
            "items": {
                "type": "object",
                "required": ["date", "active_users"],
                "properties": {
                    "date": {"type": "string", "format": "date"},
                    "active_users": COUNT,
                },
            },
        },
    },
}
ERASED_SCHEMA = {
    "type": "object",
    "required": ["events", "rejected", "spooled", "still_spooled"],
    "properties": {
        "events": COUNT | {"description": "How many events were erased"},
        "rejected": COUNT | {"description": "Of those that the database had refused"},
        "spooled": COUNT | {"description": "Of those that were on the service's own disk"},
        "still_spooled": COUNT
        | {"description": "Events that are about to be stored: erase again after that"},
    },
    "examples": [{"events": 163, "rejected": 0, "spooled": 0, "still_spooled": 0}],
}
USERS_API = "Served only where the setting USERS_API allows it."
LIVE_SCHEMA = {
    "type": "object",
    "required": ["status"],
    "examples": [{"status": "live"}],
    "properties": {"status": {"enum": ["live"]}},
}
READY_SCHEMA = {
    "type": "object",
    "required": ["status", "behind_seconds", "spool_bytes"],
    "examples": [
        {
            "status": "ready",
            "behind_seconds": {"event_counts_minute": 75.2, "event_counts_quarter_hour": None},
            "spool_bytes": 0,
        }
    ],
    "properties": {
        "status": {
            "enum": ["ready", "degraded"],
            "description": "Degraded while the database is away, and events are kept on the "
            "service's own disk, or while that which is read from does not answer",
        },
        "reason": {"type": "string", "description": "Why it is degraded"},
        "spool_bytes": {
            "type": "integer",
            "minimum": 0,
            "description": "What is on the service's own disk and still to be stored",
        },
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
REQUEST_ID = {
    "description": "As in the log: that of the request, where it has one of at most 64 letters, "
    "digits, dots, hyphens and underscores",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
}
ALL_ANSWERS = {"X-Request-ID": REQUEST_ID}

ANYWHERE = (
    ProblemKind.MALFORMED_REQUEST,
    ProblemKind.HEAD_TIMEOUT,
    ProblemKind.HEAD_TOO_LARGE,
    ProblemKind.DEFECT,
    ProblemKind.STOPPING,
)
"""What any request may be answered."""
INGEST = (
    ProblemKind.INVALID_QUERY,
    ProblemKind.BODY_TIMEOUT,
    ProblemKind.BODY_TOO_LARGE,
    ProblemKind.NOT_JSON,
    ProblemKind.UNKNOWN_CODING,
    ProblemKind.QUEUE_FULL,
    ProblemKind.NOT_STORED,
)
UNREACHABLE = ProblemKind.COUNTS_UNAVAILABLE
INVALID_QUERY = ProblemKind.INVALID_QUERY
NOT_READ = ProblemKind.EVENTS_UNAVAILABLE


def openapi(*, keys_required: bool = False) -> dict[str, Any]:
    """Return the API's description, OpenAPI 3.1."""
    event = EventBody.json_schema(ref_template=SCHEMAS)
    paths = {
        "/events": {
            "post": _post_event(),
            "get": _get(
                "listEvents",
                "Events, newest first, by pages",
                PAGE_SCHEMA,
                INVALID_QUERY,
                NOT_READ,
                query=PageQuery,
            ),
        },
        "/events/batch": {"post": _post_batch()},
        "/events/export": {"get": _export_events()},
        "/events/{event_id}": {"get": _get_event()},
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
        "/analytics/event-counts-over-time": {
            "get": _get(
                "countEventsOverTime",
                "How many events of each type in each minute, hour, day, …",
                OVER_TIME_SCHEMA,
                INVALID_QUERY,
                UNREACHABLE,
                query=OverTimeQuery,
            )
        },
        "/analytics/top-pages": {
            "get": _get(
                "topPages",
                "Which paths were viewed most",
                TOP_PAGES_SCHEMA,
                INVALID_QUERY,
                UNREACHABLE,
                query=TopQuery,
            )
        },
        "/analytics/top-elements": {
            "get": _get(
                "topElements",
                "Which elements were clicked most",
                TOP_ELEMENTS_SCHEMA,
                INVALID_QUERY,
                UNREACHABLE,
                query=TopQuery,
            )
        },
        "/analytics/active-users": {
            "get": _get(
                "countActiveUsers",
                "How many users had an event",
                ACTIVE_USERS_SCHEMA,
                INVALID_QUERY,
                UNREACHABLE,
                query=ActiveUsersQuery,
            )
        },
        "/users": {"delete": _erase_user()},
        "/users/export": {"get": _export_user()},
        "/health/live": {"get": _get("isLive", "Whether the service runs", LIVE_SCHEMA)},
        "/health/ready": {
            "get": _get(
                "isReady",
                "Whether events can be kept now",
                READY_SCHEMA,
                ProblemKind.NOT_READY,
            )
        },
        "/metrics": {
            "get": _get_text(
                "getMetrics",
                "Counts and measures of the service, for Prometheus",
                "text/plain",
                "Prometheus's text format",
            )
        },
        "/tallymark.js": {
            "get": _get_text(
                "getSnippet",
                "The script that sites embed to be counted",
                "text/javascript",
                "The same for every site; it may be kept for an hour",
            )
        },
    }
    paths["/tallymark.js"]["get"]["responses"]["304"] = {
        "description": "The copy whose ETag is sent in If-None-Match is the current one",
        "headers": ALL_ANSWERS,
    }
    paths["/tallymark.js"]["get"]["parameters"] = [SNIPPET_KEY]
    for path, operations in paths.items():
        for operation in operations.values():
            operation["tags"] = [path.split("/")[1]]
    describe_access(paths, _problem, keys_required=keys_required)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tallymark",
            "version": __version__,
            "summary": "Web-analytics events, and exact counts of them over any range",
        },
        "paths": paths,
        "components": {
            "securitySchemes": SCHEMES,
            "schemas": {
                **event.pop("$defs"),
                "Event": event,
                "RejectedEvent": REJECTED_EVENT_SCHEMA,
                "StoredEvent": STORED_EVENT_SCHEMA,
                "Problem": PROBLEM_SCHEMA,
            },
        },
    }


def _post_event() -> dict[str, Any]:
    return {
        "summary": "Store an event",
        "description": "The answer comes once the event is committed; while the database is away, "
        "once it is on the service's own disk, from where it is stored later.",
        "operationId": "postEvent",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema("Event"), "examples": EXAMPLES}},
        },
        "responses": {
            "202": _answer("The event is kept", ACCEPTED_SCHEMA),
            **_problems(ProblemKind.INVALID_EVENT, ProblemKind.REFUSED_EVENT, *INGEST, *ANYWHERE),
        },
    }


def _post_batch() -> dict[str, Any]:
    operation = _post_event()
    limits = f"{MAX_EVENTS} events, {MAX_VALUES} values and {BATCH.max_bytes} bytes (inflated)"
    return operation | {
        "summary": "Store many events",
        "description": "Each is read as if it came alone: the valid ones are stored, and the answer"
        f" comes once they are committed. At most {limits}; each at most {MAX_EVENT_BYTES} bytes as"
        " a line, or with a payload of as many in an array.",
        "operationId": "postEvents",
        "parameters": [
            {
                "name": "Content-Encoding",
                "in": "header",
                "required": False,
                "description": "How the body is compressed; identity, or nothing: it is not",
                "schema": {"enum": [*BATCH.codings, "identity", ""]},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "array", "items": _schema("Event"), "minItems": 1},
                    "example": [example["value"] for example in EXAMPLES.values()],
                },
                "application/x-ndjson": {
                    "schema": {
                        "type": "string",
                        "format": "ndjson",
                        "description": "An event a line",
                    }
                },
            },
        },
        "responses": {
            "202": _answer("The valid events are stored", ACCEPTED_BATCH_SCHEMA),
            **_problems(ProblemKind.INVALID_BATCH, *INGEST, *ANYWHERE),
        },
    }


def _get_event() -> dict[str, Any]:
    operation = _get(
        "getEvent",
        "One event",
        _schema("StoredEvent"),
        INVALID_QUERY,
        ProblemKind.NOT_FOUND,
        NOT_READ,
        query=SiteQuery,
    )
    event_id = {
        "name": "event_id",
        "in": "path",
        "required": True,
        "description": "A UUIDv7: the event is looked for in the millisecond that it holds",
        "schema": {
            "type": "string",
            "format": "uuid",
            "examples": ["019ab697-e87b-7d57-872c-f4cea7318df9"],
        },
    }
    return operation | {"parameters": [event_id, *operation["parameters"]]}


def _export_events() -> dict[str, Any]:
    operation = _get(
        "exportEvents",
        "Events, oldest first, as a file",
        _schema("StoredEvent"),
        INVALID_QUERY,
        ProblemKind.EXPORTS_BUSY,
        NOT_READ,
        query=ExportQuery,
    )
    operation["responses"]["200"] = {
        "description": "One event a line. A transfer that is cut short is not the whole file",
        "headers": ALL_ANSWERS,
        "content": {
            "application/x-ndjson": {"schema": _schema("StoredEvent")},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
    return operation


def _export_user() -> dict[str, Any]:
    operation = _get(
        "exportUser",
        "All that is kept of a user, as a file",
        {},
        INVALID_QUERY,
        NOT_READ,
        ProblemKind.EXPORTS_BUSY,
        query=UserQuery,
    )
    operation["responses"]["200"] = {
        "description": "Events, one a line, oldest first; then those that the database had refused",
        "headers": ALL_ANSWERS,
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    }
    return operation | {"description": USERS_API}


def _erase_user() -> dict[str, Any]:
    operation = _get(
        "eraseUser",
        "Erase a user for good",
        ERASED_SCHEMA,
        INVALID_QUERY,
        ProblemKind.ERASURE_UNFINISHED,
        query=UserQuery,
    )
    return operation | {"description": f"{USERS_API} Asked again, it does what is left."}


def _get_text(operation_id: str, summary: str, media_type: str, answer: str) -> dict[str, Any]:
    operation = _get(operation_id, summary, {})
    operation["responses"]["200"] = {
        "description": answer,
        "headers": ALL_ANSWERS,
        "content": {media_type: {"schema": {"type": "string"}}},
    }
    return operation


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
        "responses": {"200": _answer("OK", schema), **_problems(*problems, *ANYWHERE)},
    }


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    model = query.model_json_schema(ref_template=SCHEMAS)
    return [
        {
            "name": name,
            "in": "query",
            "required": name in model.get("required", ()),
            "description": schema.pop("description"),
            "schema": _without_null(schema),
        }
        for name, schema in model["properties"].items()
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
    return {
        "description": description,
        "headers": ALL_ANSWERS,
        "content": {"application/json": {"schema": schema}},
    }


def _problems(*kinds: ProblemKind) -> dict[str, Any]:
    statuses = dict.fromkeys(kind.status for kind in kinds)
    return {
        str(status): _problem([kind for kind in kinds if kind.status == status])
        for status in statuses
    }


def _problem(kinds: list[ProblemKind]) -> dict[str, Any]:
    """Return the answer of a status, which may have several reasons."""
    return {
        "description": "; ".join(kind.title for kind in kinds),
        "content": {
            "application/problem+json": {
                "schema": _schema("Problem"),
                "examples": {
                    kind.slug: {"value": Problem(kind, "What was wrong, in a sentence.").document()}
                    for kind in kinds
                },
            }
        },
        "headers": ALL_ANSWERS | ({"Retry-After": RETRY_AFTER} if kinds[0].retry_after else {}),
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


def routes(*, keys_required: bool = False) -> list[Route]:
    """Return the routes of the API's description."""
    description = openapi(keys_required=keys_required)

    async def get_openapi(_: Request) -> Response:
        return JSONResponse(description)

    policy = own_files_only(PAGE)

    async def get_docs(_: Request) -> Response:
        return HTMLResponse(PAGE, headers=policy)

    # Swagger UI's files come with the package swagger-ui-py: nothing is loaded from elsewhere.
    with as_file(files("swagger_ui") / "static") as assets:
        asset = file_of(assets)
    return [
        Route("/openapi.json", get_openapi),
        Route("/docs", get_docs),
        Route("/docs/assets/{name:path}", asset),
    ]
