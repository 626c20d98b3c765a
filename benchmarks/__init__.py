"""Benchmarks: figures to look at, never tests. ``python -m benchmarks`` prints them as tables."""
