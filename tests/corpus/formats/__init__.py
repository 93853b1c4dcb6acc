"""Tests of the file formats, with small files that are made here."""
