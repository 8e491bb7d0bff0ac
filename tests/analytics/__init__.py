"""GET /analytics/*: parameters and counts."""
