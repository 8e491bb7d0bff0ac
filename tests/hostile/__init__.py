"""What strangers send: requests that are none, connections that wait, every error."""
