"""Text to tokens and back: the tokenizer, its training, token files, and bits per byte."""
