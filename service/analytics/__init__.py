"""GET /analytics/*: parameters into a range, the SQL functions, JSON."""

from service.analytics.endpoints import routes

__all__ = ["routes"]
