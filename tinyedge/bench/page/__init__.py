"""A report as a page: what it shows (view), how it is drawn (chart), and the whole of it (html)."""
