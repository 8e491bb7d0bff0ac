"""The database: connections, migrations, and the embedded server."""
