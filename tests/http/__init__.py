"""The HTTP contract, over real connections."""
