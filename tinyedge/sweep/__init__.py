"""Many training runs in search of the best flags: what varies, who tries what, and what came of it."""
