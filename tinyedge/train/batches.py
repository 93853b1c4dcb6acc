"""The batches of a run: windows of a text, or conversations.

In: shards and a configuration. Out: the batches. Does not know the model.
"""

from tinyedge.core.errors import UsageError
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.data import Batches
from tinyedge.train.methods.augmentation import make_augmentation
from tinyedge.train.packing import PackedBatches
from tinyedge.train.recipe import TrainConfig


def make_batches(
    shards: Shards, config: TrainConfig, length: int, tokenizer: Tokenizer
) -> Batches | PackedBatches:
    """Return the batches of a run.

    Args:
        shards: Tokens to train on.
        config: Recipe and its parameters.
        length: Tokens that the model sees of a window.
        tokenizer: Tokenizer that made the shards.

    Raises:
        CorpusError: The text is shorter than a window.
        UsageError: There is a stride, which conversations do not have.
    """
    tokens = shards.training()
    if shards.template:
        if config.stride:
            raise UsageError("--stride applies to text, and the corpus holds pairs", "omit it", ("stride",))
        return PackedBatches(tokens, config.batch_size, length, config.seed)
    augment = make_augmentation(shards, config, tokenizer)
    return Batches(tokens, config.batch_size, length, config.stride, config.seed, augment)
