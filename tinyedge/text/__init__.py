"""Text to tokens and back: the tokenizer and its training, token files, and bits per byte."""
