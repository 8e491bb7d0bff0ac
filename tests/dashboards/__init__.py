"""The operational dashboards, each by causing what it reports."""
