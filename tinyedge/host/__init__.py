"""Facts about the machine that this process runs on, and what this process takes of it."""
