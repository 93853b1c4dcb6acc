"""Live view of a running server: reads its /metrics repeatedly and draws them. Knows no model."""
