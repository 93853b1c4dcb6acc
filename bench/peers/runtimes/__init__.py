"""One program for each runtime. Each runs in an environment of its own."""
