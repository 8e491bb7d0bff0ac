"""What is kept of a user: told, erased, and made coarser. See docs/privacy.md."""

from service.privacy.endpoints import routes

__all__ = ["routes"]
