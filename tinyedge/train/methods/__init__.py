"""Training techniques, one a file, named as the paper that describes it names it."""
