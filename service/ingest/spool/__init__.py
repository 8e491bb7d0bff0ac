"""Events on the local disk while the database is away: kept by fsync, replayed later, once."""

from service.ingest.spool.folder import Spool, SpoolError, SpoolFullError, require_writable

__all__ = ["Spool", "SpoolError", "SpoolFullError", "require_writable"]
