"""Answers in a given form: regular expressions, choices, JSON Schema and calls of tools, token by token.

In: a form and a tokenizer. Out: which tokens may follow a text. Does not know models or sampling.
docs/forms.md describes what forms there are.
"""
