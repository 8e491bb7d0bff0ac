"""What the service is measured beside: ceilings that store nothing, and textbook stacks.

All validate by the service's own models, and those that store write to the service's own table.
"""

POOL_CONNECTIONS = 16
"""To the database, for stacks that write a request's event over a connection of a pool."""
