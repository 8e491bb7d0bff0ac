"""POST /events: from a request to a committed row."""

from service.ingest.endpoints import routes

__all__ = ["routes"]
