"""An n-gram table whose probabilities are mixed with those of the language model."""
