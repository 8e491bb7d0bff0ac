"""What the service's role may do: the owner migrates, others look whether it is done."""

from psycopg import Connection

from service.database.connections import load_query
from service.database.migrations import DatabaseError, missing_migrations, preparing

MAY_MIGRATE = load_query("may_migrate")
IDENTITY = load_query("database_identity")

OWNER = (
    "let its owner do it: `python -m service migrate` with the owner's URL in "
    "MIGRATION_DATABASE_URL, and start again"
)


def may_migrate(database_url: str) -> bool:
    """Tell whether the role owns the schema, or may make it. Raises DatabaseError."""
    with preparing(database_url, "Looking at the role's rights") as connection:
        return connection.execute(MAY_MIGRATE).fetchone() == (True,)


def require_current(database_url: str) -> None:
    """Raise DatabaseError unless the schema is that of this version."""
    with preparing(database_url, "Looking at the schema") as connection:
        missing = missing_migrations(connection)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DatabaseError(
            f"The database lacks {missing[0]}{more}, and the role of DATABASE_URL may not "
            f"migrate: {OWNER}."
        )


def require_same_database(database_url: str, owners_url: str) -> None:
    """Raise DatabaseError where two URLs lead to different databases."""
    purpose = "Looking which database it is"
    with preparing(database_url, purpose) as one, preparing(owners_url, purpose) as other:
        if _identity(one) != _identity(other):
            raise DatabaseError(
                "MIGRATION_DATABASE_URL is another database than DATABASE_URL: both must lead to "
                "the same one, by different roles."
            )


def _identity(connection: Connection) -> tuple[object, ...] | None:
    return connection.execute(IDENTITY).fetchone()
