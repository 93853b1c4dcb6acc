"""What the epochs of a small corpus read: each its own segmentation, and what else could have stood there."""

from collections.abc import Callable

from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.data import Drawn
from tinyedge.train.methods.subword_regularization import resegmented_for
from tinyedge.train.methods.target_smoothing import other_tokens
from tinyedge.train.recipe import TrainConfig


def drawn_for(shards: Shards, config: TrainConfig, tokenizer: Tokenizer) -> Callable[[int], Drawn] | None:
    """What an epoch, from 0, reads: a function of (seed, epoch) and the text.

    None for recipes that draw nothing, and for texts that need no such help.
    """
    resegment = resegmented_for(shards, config, tokenizer)
    if resegment is None:
        return None

    def draw(epoch: int) -> Drawn:
        tokens = resegment(epoch)
        return Drawn(tokens, other_tokens(tokens, config.seed, epoch) if config.smoothing else None)

    return draw
