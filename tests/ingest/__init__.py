"""Ingest: encoding, the writer."""
