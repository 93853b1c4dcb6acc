"""Everyday English and Spanish, generated: the corpus source that needs no download.

In:  a seed. The words and the scenes are data, in tinyedge/corpus/data/phrasebook/<language>/.
Out: documents(seed), about 3.3 MB of short coherent documents, half in each language.
"""

from tinyedge.corpus.phrasebook.generator import generate_documents

__all__ = ["generate_documents"]
