"""Real clients of `tinyedge serve`, each run against a live server."""
