"""Who may write and read: sites, keys, the login to the dashboard, and limits (docs/access.md)."""
