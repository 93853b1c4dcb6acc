"""Texts from several sources as one corpus: UTF-8, one sentence per line, blank lines between documents."""
