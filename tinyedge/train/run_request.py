"""What the user asked of `tinyedge train`."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.config import ModelConfig
from tinyedge.corpus.build import CorpusRequest
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train.distributed import Group
from tinyedge.train.hardware import Hardware
from tinyedge.train.limits import RunLimits
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import MAX_AUGMENTED_TOKENS, TrainConfig
from tinyedge.train.report.metrics import MetricsWriter
from tinyedge.train.report.reporter import Reporter
from tinyedge.train.storage.initial import InitialModel
from tinyedge.train.trainer import Trainer


@dataclass(frozen=True)
class RunRequest:
    """A run folder, and what to train in it."""

    output_dir: Path
    """The run folder."""

    corpus: CorpusRequest
    """Where the text comes from."""

    tokenizer: TokenizerConfig
    """Settings of the tokenizer."""

    model: ModelConfig
    """Shape of the model."""

    training: TrainConfig
    """Recipe and its parameters."""

    hardware: Hardware
    """Device and number format."""

    limits: RunLimits
    """When to stop early."""

    flexible: frozenset[str] = frozenset()
    """Settings of tokenizer and training that the user did not choose: the folder's tokenizer, and the size
    and kind of the text, may change them. The model gets the vocabulary size of the tokenizer."""

    skip_corpus: bool = False
    """Use the corpus file in the folder as it is."""

    skip_tokenizer: bool = False
    """Use the tokenizer file in the folder as it is."""

    resume: bool = False
    """Continue from the newest checkpoint."""

    restart: bool = False
    """Start a new run even if the folder holds an unfinished one."""

    initial: InitialModel | None = None
    """The trained model that the run goes on from; its shape is that of `model`."""

    list_shapes: Callable[[int], Sequence[ModelConfig]] | None = None
    """Shapes to choose from, fewest weights first, for a number of tokens in the vocabulary: the run takes
    the largest that it can train, instead of `model`. None: the shape is `model`."""

    confirm: Callable[[str], bool | None] = lambda question: None
    """Asked before a finished run is moved to `previous/`, unless `restart` is set. False refuses; None means
    that nobody can be asked: the run is moved, with a message before."""

    def with_vocab_size(self, vocab_size: int) -> "RunRequest":
        """Return the request with the size of the vocabulary that was prepared for it."""
        return dataclasses.replace(
            self,
            model=dataclasses.replace(self.model, vocab_size=vocab_size),
            tokenizer=dataclasses.replace(self.tokenizer, vocab_size=vocab_size),
        )

    def adapt_to(self, shards: Shards) -> "RunRequest":
        """Return the request with the recipe's settings for what the token files hold."""
        if not shards.template and shards.train_tokens <= MAX_AUGMENTED_TOKENS:
            return self
        return dataclasses.replace(self, training=self.training.take_small_steps(self.flexible))

    def with_shape(self, model: ModelConfig) -> "RunRequest":
        """Return the request with the shape that was chosen for it."""
        return dataclasses.replace(self, model=model, list_shapes=None)

    def make_trainer(
        self,
        tokenizer: Tokenizer,
        shards: Shards,
        reporter: Reporter,
        group: Group,
        teacher: TinyTransformer | None = None,
    ) -> Trainer:
        """Return the trainer of the run.

        Without a teacher, the trainer of a run that has some serves to check the request: nothing is
        compiled.
        """
        weights, old = (self.initial.weights, self.initial.held_out) if self.initial else (None, None)
        hardware = self.hardware
        if self.training.teachers and teacher is None:
            hardware = dataclasses.replace(hardware, use_compile=False)
        where = hardware, self.output_dir, reporter, group
        return Trainer(self.model, self.training, shards, tokenizer, *where, weights, old, teacher)

    def make_metrics(self, tokenizer: Tokenizer, shards: Shards) -> MetricsWriter:
        """Return the metrics of the run, before its first step."""
        identity = {"corpus_sha256": shards.corpus_sha256, "tokenizer_sha256": tokenizer.sha256}
        settings = self.model, self.training, self.limits, self.hardware, identity
        return MetricsWriter(self.output_dir, *settings, shards.unknown_byte_shares)
