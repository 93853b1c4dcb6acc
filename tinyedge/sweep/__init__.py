"""Hyperparameter search with many training runs: the search space, the study, the trials and a plot."""
