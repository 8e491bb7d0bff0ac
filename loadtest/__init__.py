"""Load and benchmarks: figures are printed, never asserted."""
