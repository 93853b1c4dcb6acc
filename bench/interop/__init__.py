"""Compares the portable model in other tools with tinyedge."""
