"""Faults: real processes are killed under load, and a ledger is compared with the table."""
