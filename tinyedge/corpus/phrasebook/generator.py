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


class _DocumentGenerator:
    """Tells the documents of one language, its scenes in a new order at every round."""

    def __init__(self, language: str, grammar: Grammar, rng: random.Random) -> None:
        self.language = language
        self.written = 0
        self.seen: set[str] = set()
        self._grammar = grammar
        self._rng = rng
        self._lexicon: Lexicon = read_lexicon(language)
        self._scenes = read_scenes(language)
        self._round: list[Scene] = []

    def generate(self) -> Document:
        sentences: list[str] = []
        while not SHORTEST <= len(sentences) <= LONGEST:
            if not self._round:
                self._round = self._rng.sample(self._scenes, len(self._scenes))
            sentences = self._render_scene(self._round.pop())
        self.seen.update(sentences)
        self.written += sum(len(sentence.encode()) + 1 for sentence in sentences) + 1
        return Document(tuple(sentences), self.language, SOURCE)

    def _render_scene(self, scene: Scene) -> list[str]:
        discourse = Discourse(scene, self._lexicon, self._grammar, self._rng)
        sentences: list[str] = []
        for step in scene.steps:
            if not (step.optional and self._rng.random() < _SKIPPED):
                sentences += self._render_step(step, discourse)
        return sentences

    def _render_step(self, step: SceneStep, discourse: Discourse) -> list[str]:
        """One alternative of the step, if possible one that says nothing said before."""
        introduced = discourse.introduced
        sentences: list[str] = []
        for _ in range(_ATTEMPTS):
            discourse.introduced = introduced
            alternative = self._rng.choice(step.alternatives)
            sentences = [self._finish_sentence(discourse.render(template)) for template in alternative]
            if self.seen.isdisjoint(sentences):
                break
        return sentences

    def _finish_sentence(self, text: str) -> str:
        return unicodedata.normalize("NFC", self._grammar.polish_sentence(text))


def generate_documents(seed: int = 0) -> Iterator[Document]:
    """The whole phrasebook, one document at a time; the same seed gives the same text everywhere."""
    generators = (
        _DocumentGenerator("en", English(), random.Random(2 * seed)),
        _DocumentGenerator("es", Spanish(), random.Random(2 * seed + 1)),
    )
    while (
        sum(generator.written for generator in generators) < TARGET_BYTES
        or sum(len(generator.seen) for generator in generators) < TARGET_SENTENCES
    ):
        yield min(generators, key=lambda generator: generator.written).generate()
