"""Loss on held-out documents: token-weighted, by language, in bits per byte too."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from tinyedge.core.arrays import Ids, Logits
from tinyedge.text.evaluate import Passage, Quality, Window, windows
from tinyedge.text.tokenizer import UNK_ID
from tinyedge.train.model import TinyTransformer

BATCH = 32  # windows at a time
IGNORED = -100  # cross_entropy's own default for a target that does not count


@dataclass
class _Sum:
    nats: float = 0.0
    tokens: int = 0
    bytes: int = 0
    unknown: int = 0


def validate(
    model: TinyTransformer, passages: Iterable[tuple[str, Passage]], device: torch.device
) -> list[Quality]:
    """Quality on (language, passage) pairs, one entry a language and a first one, "all", for the whole.

    Windows do not overlap here (stride = context): each epoch pays for it. `tinyedge eval` uses more context
    and so reads a little lower.
    """
    sums: dict[str, _Sum] = {}
    pending: list[tuple[str, Window]] = []
    was_training = model.training
    model.eval()
    for language, passage in passages:
        entry = sums.setdefault(language, _Sum())
        entry.bytes += passage.bytes
        context = model.config.max_seq_length
        for window in windows(passage.tokens, context, stride=context):
            entry.tokens += len(window.targets)
            entry.unknown += int((window.targets == UNK_ID).sum())
            pending.append((language, window))
            if len(pending) == BATCH:
                _score(model, pending, sums, device)
                pending = []
    if pending:
        _score(model, pending, sums, device)
    model.train(was_training)
    whole = _Sum(*(sum(getattr(s, f) for s in sums.values()) for f in ("nats", "tokens", "bytes", "unknown")))
    named = [("all", whole), *sorted(sums.items())]
    return [Quality.of(name, s.nats, s.tokens, s.bytes, s.unknown) for name, s in named if s.tokens]


@torch.no_grad()
def _score(
    model: TinyTransformer, batch: list[tuple[str, Window]], sums: dict[str, _Sum], device: torch.device
) -> None:
    longest = max(len(window.inputs) for _, window in batch)
    inputs = torch.zeros((len(batch), longest), dtype=torch.int64)
    targets = torch.full((len(batch), longest), IGNORED, dtype=torch.int64)
    for row, (_, window) in enumerate(batch):  # padding is on the right: causal, so never seen
        length = len(window.inputs)
        inputs[row, :length] = torch.from_numpy(window.inputs.astype(np.int64))
        targets[row, window.first : length] = torch.from_numpy(window.targets.astype(np.int64))
    logits = model(inputs.to(device))
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten().to(device), reduction="none")
    for (language, _), total in zip(batch, losses.view_as(targets).sum(dim=1).tolist(), strict=True):
        sums[language].nats += total


class CheckpointModel:
    """A torch model as `tinyedge.text.evaluate` reads one."""

    def __init__(self, model: TinyTransformer) -> None:
        self._model = model

    @property
    def context(self) -> int:
        """Positions."""
        return self._model.config.max_seq_length

    @torch.no_grad()
    def logits(self, inputs: Ids, first: int) -> Logits:
        """One full forward pass over the window: (len(inputs) - first, V)."""
        hidden = self._model.hidden(torch.from_numpy(inputs.astype(np.int64))[None])
        logits: Logits = self._model.output(hidden[0, first:]).float().numpy()
        return logits
