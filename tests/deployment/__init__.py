"""How it is run for real: roles, backups, restarts, and what checks a set-up."""
