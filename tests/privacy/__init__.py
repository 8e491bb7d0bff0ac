"""What is kept of a user."""
