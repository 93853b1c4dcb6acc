"""Emulation of the board: `python -m bench.twin --help`."""
