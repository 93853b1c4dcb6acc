"""Generate the phrasebook's documents: scenes with new people and things until there is enough text.

In: a seed. Out: Documents of 3 to 8 sentences, English and Spanish balanced by bytes, with few repeated
sentences. Does not know the corpus file.
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
MIN_SENTENCES, MAX_SENTENCES = 3, 8  # sentences of a document
_MAX_ATTEMPTS = 12
_SKIP_PROBABILITY = 0.35  # of an optional step


class _DocumentGenerator:
    """Generates the documents of one language; every pass over its scenes has a new random order."""

    def __init__(self, language: str, grammar: Grammar, rng: random.Random) -> None:
        self.language = language
        self.bytes_written = 0
        self.seen: set[str] = set()
        self._grammar = grammar
        self._rng = rng
        self._lexicon: Lexicon = read_lexicon(language)
        self._scenes = read_scenes(language)
        self._remaining_scenes: list[Scene] = []

    def generate(self) -> Document:
        """Generate the next document."""
        sentences: list[str] = []
        while not MIN_SENTENCES <= len(sentences) <= MAX_SENTENCES:
            if not self._remaining_scenes:
                self._remaining_scenes = self._rng.sample(self._scenes, len(self._scenes))
            sentences = self._render_scene(self._remaining_scenes.pop())
        self.seen.update(sentences)
        self.bytes_written += sum(len(sentence.encode()) + 1 for sentence in sentences) + 1
        return Document(tuple(sentences), self.language, SOURCE)

    def _render_scene(self, scene: Scene) -> list[str]:
        discourse = Discourse(scene, self._lexicon, self._grammar, self._rng)
        sentences: list[str] = []
        for step in scene.steps:
            if not (step.optional and self._rng.random() < _SKIP_PROBABILITY):
                sentences += self._render_step(step, discourse)
        return sentences

    def _render_step(self, step: SceneStep, discourse: Discourse) -> list[str]:
        """Render one alternative of a step, if possible one whose sentences are all new."""
        introduced = discourse.introduced
        sentences: list[str] = []
        for _ in range(_MAX_ATTEMPTS):
            discourse.introduced = introduced
            alternative = self._rng.choice(step.alternatives)
            sentences = [self._finish_sentence(discourse.render(template)) for template in alternative]
            if self.seen.isdisjoint(sentences):
                break
        return sentences

    def _finish_sentence(self, text: str) -> str:
        return unicodedata.normalize("NFC", self._grammar.polish_sentence(text))


def generate_documents(seed: int = 0) -> Iterator[Document]:
    """Generate the phrasebook, one document at a time; a seed gives the same text on every machine."""
    generators = (
        _DocumentGenerator("en", English(), random.Random(2 * seed)),
        _DocumentGenerator("es", Spanish(), random.Random(2 * seed + 1)),
    )
    while (
        sum(generator.bytes_written for generator in generators) < TARGET_BYTES
        or sum(len(generator.seen) for generator in generators) < TARGET_SENTENCES
    ):
        yield min(generators, key=lambda generator: generator.bytes_written).generate()
