"""A bundle over HTTP: OpenAI's completions, metrics, and one page. Only `tinyedge serve` imports it."""
