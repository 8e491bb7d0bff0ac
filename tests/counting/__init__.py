"""Whether counts are exact: event_counts() against a raw COUNT, and against a ledger."""
