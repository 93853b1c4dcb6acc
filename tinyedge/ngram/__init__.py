"""An n-gram table whose probabilities are mixed with those of the language model.

Importing the package loads neither numpy nor a module of it: every command's help needs the default size.
"""

DEFAULT_NGRAM_MB = 16.0  # largest size of a bundle's table in MB of 2^20 bytes
MAX_NGRAM_MB = 256
