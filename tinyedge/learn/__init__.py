"""A board learns from a text of its user: the n-grams of a bundle change, its model does not."""
