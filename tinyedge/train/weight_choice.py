"""Which weights stand for the model at the end of an epoch: the trained ones, or their average over the run.

In: a training step and held-out passages. Out: the choice. An average suppresses what a model has memorized,
but lags behind a model that still learns fast, as in a run that reads its text once.
"""

import torch

from tinyedge.text.shards import Shards
from tinyedge.train.distributed import Group
from tinyedge.train.step import TrainStep
from tinyedge.train.validation import choose_spacing, validate

COMPARED_TOKENS = 20_000  # held-out tokens that decide


class WeightChoice:
    """Compares both on evenly spaced windows of the held-out text.

    Args:
        shards: The run's token files.
        device: The model's device.
        group: Processes of the run; the main one compares.
    """

    def __init__(self, shards: Shards, device: torch.device, group: Group) -> None:
        self._shards = shards
        self._device = device
        self._group = group

    def choose(self, train_step: TrainStep) -> bool:
        """Return whether the average predicts better; in every process of the run the same."""
        if not train_step.has_average:
            return False
        return self._group.broadcast(self._group.is_main and self._is_average_better(train_step))

    def _is_average_better(self, train_step: TrainStep) -> bool:
        spacing = choose_spacing(self._shards.validation_tokens, COMPARED_TOKENS)
        losses = []
        for averaged in (False, True):
            with train_step.evaluated_weights(averaged):
                try:
                    found = validate(train_step.model, self._shards.validation(), self._device, spacing)
                except OverflowError:  # the perplexity exceeds the range of a float
                    return not averaged
                losses.append(found[0].perplexity if found else 0.0)
        return losses[1] < losses[0]
