"""Benchmark of a bundle: measurement, report and evaluation. Each module is one step."""
