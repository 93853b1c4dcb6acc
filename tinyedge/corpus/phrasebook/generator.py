"""The phrasebook's documents: scenes played with new people and things until there is text enough.

In:  a seed.
Out: Documents of 3 to 8 sentences, English and Spanish in turn by bytes, hardly a sentence said twice.
"""

import random
import unicodedata
from collections.abc import Iterator

from tinyedge.corpus.document import Document
from tinyedge.corpus.phrasebook.discourse import Discourse, Grammar
from tinyedge.corpus.phrasebook.english import English
from tinyedge.corpus.phrasebook.lexicon import Lexicon, Scene, SceneStep, read_lexicon, read_scenes
from tinyedge.corpus.phrasebook.spanish import Spanish

SOURCE = "phrasebook"
TARGET_BYTES = 3_350_000
TARGET_SENTENCES = 49_000  # distinct ones
SHORTEST, LONGEST = 3, 8  # sentences of a document
_ATTEMPTS = 12
_SKIPPED = 0.35  # how often an optional step is left out


class _Narrator:
    """Tells the documents of one language, its scenes in a new order at every round."""

    def __init__(self, language: str, grammar: Grammar, rng: random.Random) -> None:
        self.language = language
        self.written = 0
        self.told: set[str] = set()
        self._grammar = grammar
        self._rng = rng
        self._lexicon: Lexicon = read_lexicon(language)
        self._scenes = read_scenes(language)
        self._round: list[Scene] = []

    def tell(self) -> Document:
        sentences: list[str] = []
        while not SHORTEST <= len(sentences) <= LONGEST:
            if not self._round:
                self._round = self._rng.sample(self._scenes, len(self._scenes))
            sentences = self._play(self._round.pop())
        self.told.update(sentences)
        self.written += sum(len(sentence.encode()) + 1 for sentence in sentences) + 1
        return Document(tuple(sentences), self.language, SOURCE)

    def _play(self, scene: Scene) -> list[str]:
        stage = Discourse(scene, self._lexicon, self._grammar, self._rng)
        sentences: list[str] = []
        for step in scene.steps:
            if not (step.optional and self._rng.random() < _SKIPPED):
                sentences += self._take(step, stage)
        return sentences

    def _take(self, step: SceneStep, stage: Discourse) -> list[str]:
        """One alternative of the step, if possible one that says nothing said before."""
        introduced = stage.introduced
        sentences: list[str] = []
        for _ in range(_ATTEMPTS):
            stage.introduced = introduced
            alternative = self._rng.choice(step.alternatives)
            sentences = [self._finish(stage.render(template)) for template in alternative]
            if self.told.isdisjoint(sentences):
                break
        return sentences

    def _finish(self, text: str) -> str:
        return unicodedata.normalize("NFC", self._grammar.polish(text))


def documents(seed: int = 0) -> Iterator[Document]:
    """The whole phrasebook, one document at a time; the same seed gives the same text everywhere."""
    narrators = (
        _Narrator("en", English(), random.Random(2 * seed)),
        _Narrator("es", Spanish(), random.Random(2 * seed + 1)),
    )
    while (
        sum(narrator.written for narrator in narrators) < TARGET_BYTES
        or sum(len(narrator.told) for narrator in narrators) < TARGET_SENTENCES
    ):
        yield min(narrators, key=lambda narrator: narrator.written).tell()
