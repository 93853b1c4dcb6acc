"""Training techniques, one in each file, named after the paper that describes it."""
