"""A database on which only the test refreshes and converts."""

from tests.counting.conftest import connection, quiet_url

__all__ = ["connection", "quiet_url"]
