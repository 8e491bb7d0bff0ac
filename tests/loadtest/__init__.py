"""The load test: what it sends, what it checks, and that its checks can fail."""
