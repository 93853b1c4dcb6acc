"""Augmentation of a small corpus: in each epoch another segmentation, and alternatives for each target.

Combines `subword_regularization` (Kudo, 2018) and `target_smoothing` (Xie et al., 2017).
"""

from collections.abc import Callable

from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.data import AugmentedTokens
from tinyedge.train.methods.subword_regularization import make_segmentation_sampler
from tinyedge.train.methods.target_smoothing import sample_alternatives
from tinyedge.train.recipe import TrainConfig


def make_augmentation(
    shards: Shards, config: TrainConfig, tokenizer: Tokenizer
) -> Callable[[int], AugmentedTokens] | None:
    """Return a function from an epoch, counted from 0, to the tokens that it reads.

    Its result depends only on the text, the seed and the epoch.

    Returns:
        The function, or None for recipes without augmentation and for texts too large to need it.
    """
    sample_segmentation = make_segmentation_sampler(shards, config, tokenizer)
    if sample_segmentation is None:
        return None

    def augment(epoch: int) -> AugmentedTokens:
        tokens = sample_segmentation(epoch)
        alternatives = sample_alternatives(tokens, config.seed, epoch) if config.smoothing else None
        return AugmentedTokens(tokens, alternatives)

    return augment
