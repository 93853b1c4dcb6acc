"""Benchmarks of training: quality against time, memory, resistance to kills."""
