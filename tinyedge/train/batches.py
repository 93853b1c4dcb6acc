"""The batches of a run: windows of a text, or conversations.

In: shards and a configuration. Out: the batches. Does not know the model.
"""

from collections.abc import Callable

from tinyedge.core.errors import UsageError
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.data import AugmentedTokens, Batches
from tinyedge.train.methods.augmentation import make_augmentation
from tinyedge.train.packing import PackedBatches
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.replay import ReplayBatches, count_replayed

OLD_SEED = 1  # so that the order of the old text differs from that of a text of the same size


def make_batches(
    shards: Shards, config: TrainConfig, length: int, tokenizer: Tokenizer, old: Shards | None = None
) -> Batches | PackedBatches | ReplayBatches:
    """Return the batches of a run.

    Args:
        shards: Tokens to train on.
        config: Recipe and its parameters.
        length: Tokens that the model sees of a window.
        tokenizer: Tokenizer that made the shards.
        old: Tokens of which a part is repeated, as `config.replay` says.

    Raises:
        CorpusError: The text is shorter than a window.
        UsageError: There is a stride, which conversations do not have.
    """
    if shards.template and config.stride:
        raise UsageError("stride applies to text, and the corpus holds pairs", "omit it", ("stride",))
    augment = None if shards.template else make_augmentation(shards, config, tokenizer)
    new = _open(shards, config.batch_size, length, config.stride, config.seed, augment)
    if not (old and config.replay):
        return new
    rows = count_replayed(new.rows, config.replay)
    return ReplayBatches(new, _open(old, rows, length, 0, config.seed + OLD_SEED))


def _open(
    shards: Shards,
    batch_size: int,
    length: int,
    stride: int,
    seed: int,
    augment: Callable[[int], AugmentedTokens] | None = None,
) -> Batches | PackedBatches:
    tokens = shards.training()
    if shards.template:
        return PackedBatches(tokens, batch_size, length, seed)
    return Batches(tokens, batch_size, length, stride, seed, augment)
