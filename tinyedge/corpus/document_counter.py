"""Count the documents of a corpus, and drop repeated ones.

In: documents. Out: the bytes of each, and counts by source and language. Does not write files.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from tinyedge.corpus.document import Document


class DocumentCounter:
    """Encodes documents for the corpus file, drops duplicates, and counts by source and language."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        self.duplicates = 0
        self.digest = hashlib.sha256()

    def encode(self, documents: Iterable[Document], keep_repeated: bool = False) -> Iterator[bytes]:
        """Yield the bytes that the corpus file gets for each document.

        Args:
            documents: The documents.
            keep_repeated: Whether one that repeats an earlier one is kept, or dropped and counted.
        """
        seen: set[bytes] = set()
        for document in documents:
            text = "".join(f"{sentence}\n" for sentence in document.sentences).encode()
            digest = hashlib.blake2b(text, digest_size=16).digest()
            if digest in seen and not keep_repeated:
                self.duplicates += 1
            elif text:
                counts = self.counts.setdefault((document.source, document.language), Counter())
                counts.update(documents=1, sentences=len(document.sentences), bytes=len(text))
                text = b"\n" + text if seen else text
                seen.add(digest)
                self.digest.update(text)
                yield text

    def total(self, unit: str) -> int:
        """Return the sum of one count over all sources and languages."""
        return sum(counts[unit] for counts in self.counts.values())

    def languages(self) -> dict[str, dict[str, int]]:
        """Return the counts of each language."""
        sums: dict[str, Counter[str]] = {}
        for (_, language), counts in self.counts.items():
            sums.setdefault(language, Counter()).update(counts)
        return {language: dict(counts) for language, counts in sorted(sums.items())}
