"""What a run that goes on from a trained model gained on the new text, and lost on the old.

In: the model, and the held-out text of both runs. Out: bits per byte before and after. Does not train.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tinyedge.core.runs import ALL
from tinyedge.text.shards import Shards
from tinyedge.train.model import TinyTransformer
from tinyedge.train.storage.initial import InitialModel
from tinyedge.train.validation import choose_spacing, validate

NEW, OLD = "new", "old"
MAX_LOSS_PERCENT = 3.0  # of the old text's bits per byte, above which the user is warned

Bits = dict[str, dict[str, float]]  # bits per byte by text (NEW, OLD) and language


class BeforeAfter:
    """Bits per byte of the initial model and of the best one of the run that goes on from it.

    Args:
        initial: The initial model.
        model: The same, on `device`; evaluated here.
        new: Token files of the new run.
        device: Device to compute on.
    """

    def __init__(
        self, initial: InitialModel, model: TinyTransformer, new: Shards, device: torch.device
    ) -> None:
        self._initial = initial
        self._device = device
        self._texts = {NEW: new} | ({OLD: initial.held_out} if initial.held_out else {})
        self._before = self._measure(model)
        self._after: Bits | None = None

    def finish(self, model: TinyTransformer, weights: Mapping[str, Tensor]) -> Iterator[str]:
        """Evaluate the best model of the run, and describe the change in lines for the user.

        Args:
            model: Any model of the same shape, on the device; its weights are replaced.
            weights: Weights of the best model.
        """
        model.load_state_dict(dict(weights))
        self._after = self._measure(model)
        for name, languages in self._before.items():
            pairs = ((language, bits, self._after[name][language]) for language, bits in languages.items())
            listed = ", ".join(
                f"{language} {before:.4f} to {after:.4f} ({_percent(before, after):+.1f}%)"
                for language, before, after in pairs
            )
            yield f"held-out bits per byte of the {name} text, before and after: {listed}"
        if OLD not in self._before:
            yield (
                f"the held-out text of {self._initial.path.parent} is gone, so it is not known what the model"
                " lost"
            )
        elif (lost := _percent(self._before[OLD][ALL], self._after[OLD][ALL])) > MAX_LOSS_PERCENT:
            yield (
                f"warning: the model lost {lost:.1f}% on the old text; a lower --learning-rate or fewer"
                " --epochs keep more of it"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the field `init_from` of the metrics."""
        return {
            "path": str(self._initial.path),
            "model_id": self._initial.model_id,
            "before": self._before,
            "after": self._after,
        }

    def _measure(self, model: TinyTransformer) -> Bits:
        found = {}
        for name, shards in self._texts.items():
            spacing = choose_spacing(shards.validation_tokens)
            qualities = validate(model, shards.validation(), self._device, spacing)
            found[name] = {quality.name: quality.bits_per_byte for quality in qualities}
        return found


def _percent(before: float, after: float) -> float:
    return 100 * (after / before - 1) if before else 0.0
