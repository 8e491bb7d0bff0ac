"""Tallymark: a web-analytics event service on TimescaleDB."""

__version__ = "0.1.0"
