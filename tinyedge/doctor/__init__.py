"""Checks whether this machine can run a bundle. Reads the machine, changes nothing, and suggests remedies."""
