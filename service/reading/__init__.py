"""GET /events, /events/{event_id} and /events/export: stored events, read back."""

from service.reading.endpoints import routes

__all__ = ["routes"]
