"""A running server as a terminal sees it: its /metrics, read again and again. Knows no model."""
