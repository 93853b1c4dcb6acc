"""A report as an HTML page: its content, its charts, and the page itself."""
