"""The documentation: its site builds and its examples run."""
