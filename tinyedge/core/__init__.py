"""Basics of every room: errors, files, settings, statistics. Knows the standard library and NumPy only."""
