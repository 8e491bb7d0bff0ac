"""A database on which only the test refreshes and converts."""

from tests.counting.conftest import quiet_url

__all__ = ["quiet_url"]
