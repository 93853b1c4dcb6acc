"""Plain text to a language model that answers on a small board inside a proven budget."""

__version__ = "0.1.0"
