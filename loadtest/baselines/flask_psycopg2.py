"""Flask, to be served by gunicorn's threads, and psycopg2: an INSERT a request."""

import os
import threading
from typing import Any

import psycopg2
from flask import Flask, request

from loadtest.baselines.rows import INSERT, answer_of, row_of
from service.events import InvalidEventError, parse_event

app = Flask(__name__)
local = threading.local()


def connection() -> Any:
    """Return this thread's connection."""
    if not hasattr(local, "connection"):
        local.connection = psycopg2.connect(os.environ["DATABASE_URL"])
        local.connection.autocommit = True
    return local.connection


@app.post("/events")
def post_event() -> tuple[Any, int]:
    """Store an event, then answer."""
    try:
        event = parse_event(request.get_data())
    except InvalidEventError as error:
        return error.errors, 422
    with connection().cursor() as cursor:
        cursor.execute(INSERT, row_of(event))
    return answer_of(event), 202
