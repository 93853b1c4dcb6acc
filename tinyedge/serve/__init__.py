"""HTTP server for a bundle: OpenAI's completions API, metrics, a web page. Used by `tinyedge serve` only."""
