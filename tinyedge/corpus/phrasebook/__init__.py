"""Generated everyday English and Spanish: the corpus source that needs no download.

In: a seed. The words and scenes are data, in tinyedge/corpus/data/phrasebook/<language>/. Out: about 3.3 MB
of short coherent documents, half in each language. Does not know the corpus file.
"""

from tinyedge.corpus.phrasebook.generator import generate_documents

__all__ = ["generate_documents"]
