"""Who loads the service, and with what."""
