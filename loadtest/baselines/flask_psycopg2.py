"""Flask, to be served by gunicorn's threads, and psycopg2: an INSERT a request."""

import os
import threading
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg2
from flask import Flask, request

from service.events import MICROSECONDS, parse_event

INSERT = """
insert into events (timestamp, event_id, site_id, user_id, event_type, payload)
values (%s, %s, %s, %s, %s, %s)
on conflict do nothing
"""

app = Flask(__name__)
local = threading.local()


def connection() -> Any:
    """Return this thread's connection."""
    if not hasattr(local, "connection"):
        local.connection = psycopg2.connect(os.environ["DATABASE_URL"])
        local.connection.autocommit = True
    return local.connection


@app.post("/events")
def post_event() -> tuple[dict[str, str], int]:
    """Store an event, then answer."""
    event = parse_event(request.get_data())
    event_id = str(UUID(bytes=event.event_id))
    timestamp = datetime.fromtimestamp(event.timestamp / MICROSECONDS, UTC)
    row = (
        *(timestamp, event_id, event.site_id),
        *(event.user_id.decode(), event.event_type, event.payload.decode()),
    )
    with connection().cursor() as cursor:
        cursor.execute(INSERT, row)
    return {"event_id": event_id, "timestamp": timestamp.isoformat()}, 202
