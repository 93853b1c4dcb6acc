"""Evaluation on held-out documents: token-weighted, by language, also in bits per byte.

In: a torch model and passages. Out: their quality. Does not know training.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.text.evaluate import Passage, Quality, Window
from tinyedge.text.tokenizer import UNK_ID
from tinyedge.text.window_sample import share_bytes
from tinyedge.train.model import TinyTransformer

BATCH_SIZE = 32  # windows
EVALUATED_TOKENS = 250_000  # held-out tokens that an epoch is evaluated on: all of them may take too long
GOLDEN_RATIO = (5**0.5 - 1) / 2  # its multiples fill 0-1 evenly, without a period
IGNORED = -100  # cross_entropy's default for targets that do not count


@dataclass
class _Totals:
    nats: float = 0.0
    tokens: int = 0
    bytes: float = 0.0
    unknown: int = 0
    unknown_bytes: float = 0.0


def choose_spacing(held_out: int, tokens: int = EVALUATED_TOKENS) -> int:
    """Return of how many windows one is to be evaluated.

    Args:
        held_out: Number of held-out tokens.
        tokens: How many of them are enough.
    """
    return max(1, held_out // tokens)


def is_chosen(number: int, spacing: int) -> bool:
    """Whether to evaluate a window: the first one, and one of each `spacing`, but not in equal steps.

    In equal steps, a text of documents with two windows would be judged by their beginnings alone.

    Args:
        number: Number of the window in its language, from 0.
        spacing: As `choose_spacing` returns it.
    """
    return number * GOLDEN_RATIO % 1 < 1 / spacing


def validate(
    model: TinyTransformer, passages: Iterable[tuple[str, Passage]], device: torch.device, spacing: int = 1
) -> list[Quality]:
    """Evaluate a model on held-out passages.

    Windows do not overlap here (stride = context), because each epoch pays for it. `tinyedge eval` gives
    tokens more context and therefore reports slightly lower values.

    Args:
        model: Model to evaluate, on `device`.
        passages: Pairs of a language and a passage.
        device: Device to compute on.
        spacing: Windows of which one is evaluated, as `is_chosen` says. A window has the bytes of its share
            of the passage's tokens.

    Returns:
        An entry named "all" for all passages, followed by one for each language.
    """
    totals: dict[str, _Totals] = {}
    pending: list[tuple[str, Window]] = []
    seen = Counter[str]()  # windows so far, by language
    context = model.config.max_seq_length
    was_training = model.training
    model.eval()
    for language, passage in passages:
        for window, size, unknown_bytes in share_bytes(passage, context, stride=context):
            seen[language] += 1
            if not is_chosen(seen[language] - 1, spacing):
                continue
            entry = totals.setdefault(language, _Totals())
            entry.bytes += size
            entry.unknown_bytes += unknown_bytes
            entry.tokens += len(window.targets)
            entry.unknown += int((window.targets == UNK_ID).sum())
            pending.append((language, window))
            if len(pending) == BATCH_SIZE:
                _add_losses(model, pending, totals, device)
                pending = []
    if pending:
        _add_losses(model, pending, totals, device)
    model.train(was_training)
    names = ("nats", "tokens", "bytes", "unknown", "unknown_bytes")
    overall = _Totals(*(sum(getattr(each, name) for each in totals.values()) for name in names))
    named = [("all", overall), *sorted(totals.items())]
    return [
        Quality.from_sums(name, t.nats, t.tokens, t.bytes, t.unknown, t.unknown_bytes)
        for name, t in named
        if t.tokens
    ]


@torch.no_grad()
def _add_losses(
    model: TinyTransformer, batch: list[tuple[str, Window]], totals: dict[str, _Totals], device: torch.device
) -> None:
    """Add the loss of each window, in nats, to the total of its language."""
    longest = max(len(window.inputs) for _, window in batch)
    inputs = torch.zeros((len(batch), longest), dtype=torch.int64)
    targets = torch.full((len(batch), longest), IGNORED, dtype=torch.int64)
    for row, (_, window) in enumerate(batch):  # padding is on the right, where causal attention never looks
        length = len(window.inputs)
        inputs[row, :length] = torch.from_numpy(window.inputs.astype(np.int64))
        targets[row, window.first : length] = torch.from_numpy(window.targets.astype(np.int64))
    logits = model(inputs.to(device))
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten().to(device), reduction="none")
    for (language, _), total in zip(batch, losses.view_as(targets).sum(dim=1).tolist(), strict=True):
        totals[language].nats += total


class CheckpointModel:
    """Adapts a torch model to `tinyedge.text.evaluate`."""

    def __init__(self, model: TinyTransformer) -> None:
        self._model = model

    @property
    def context(self) -> int:
        """Context length in tokens."""
        return self._model.config.max_seq_length

    @torch.no_grad()
    def logits(self, inputs: TokenIds, first: int) -> Logits:
        """Compute logits for the positions of a window from `first` on: (len(inputs) - first, V)."""
        hidden = self._model.hidden(torch.from_numpy(inputs.astype(np.int64))[None])
        logits: Logits = self._model.output(hidden[0, first:]).float().numpy()
        return logits
