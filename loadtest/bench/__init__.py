"""Benchmarks: how long counts take at which size, and which way of writing is the faster one."""
