"""Plain text to a language model that answers on a small board within a measured budget."""

__version__ = "0.1.0"
