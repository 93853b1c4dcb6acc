"""The board that a bundle was made for: whether this machine is it, and otherwise what is modelled for it.

In: the bundle's target, the measured work, this machine. Out: a TargetBoard. `tinyedge.fit` models the time;
it is imported after the measurement only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinyedge.boards.board import Board
from tinyedge.boards.latency import format_threads
from tinyedge.boards.load import known_boards
from tinyedge.core import stats
from tinyedge.core.config import ModelConfig
from tinyedge.host.machine import Device

MACHINE_NAMES = {"arm64": "aarch64"}  # as macOS calls it


@dataclass(frozen=True)
class BundleTarget:
    """What a bundle's manifest says about its target."""

    board: str
    """Name of the board."""
    config: ModelConfig
    """Shape of the model."""
    precision: str
    """Precision of the model: "int8" or "fp32"."""
    has_ngrams: bool = False
    """Whether the model is mixed with n-grams, whose time is not modelled."""

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> "BundleTarget":
        """Read it from a validated manifest."""
        config = ModelConfig.from_dict(manifest["model"])
        return cls(manifest["target"], config, manifest["precision"], "ngrams" in manifest)


@dataclass(frozen=True)
class ModelledLatency:
    """The p95 of the measured responses on the target, modelled."""

    p95_ms: float
    """The modelled p95, in ms."""
    error_percent: float
    """The model is off by up to this, in percent."""
    margin: float
    """Factor that covers the model's largest known error."""
    p95_with_margin_ms: float
    """p95_ms times the margin, in ms: what a limit should hold."""
    threads: int
    """Cores that compute a token there: as many as were measured, if the board has them."""


@dataclass(frozen=True)
class TargetBoard:
    """The board that a bundle was made for, compared with this machine."""

    board: str
    """Name of the board."""
    title: str | None
    """Name for people; None if this tinyedge does not know the board."""
    is_this_machine: bool | None
    """Whether this machine is such a board; None if this tinyedge does not know the board."""
    modelled: ModelledLatency | None
    """Modelled latency; None on the board itself, and if there is no model for the board and precision."""
    sentence: str
    """What the reader has to know; empty on the board itself."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        return asdict(self)


def describe_target(
    target: BundleTarget,
    device: Device,
    prompt_tokens: Sequence[int],
    max_tokens: int,
    max_p95_ms: float,
    threads: int = 1,
) -> TargetBoard:
    """Compare a bundle's target with this machine.

    Args:
        target: The bundle's target.
        device: This machine.
        prompt_tokens: Length of the prompt of each measured response, BOS included.
        max_tokens: Tokens of each response.
        max_p95_ms: Limit of the p95, in ms.
        threads: Cores that computed a token.
    """
    board = next((one for one in known_boards() if one.name == target.board), None)
    if board is None:
        sentence = (
            f"measured on this machine; the bundle's target, {target.board}, is no board that this tinyedge"
            " knows, so nothing is known about the times there"
        )
        return TargetBoard(target.board, None, None, None, sentence)
    if is_board(device.machine, device.model, board):
        return TargetBoard(board.name, board.title, True, None, "")
    sentence = f"measured on this machine, not on the bundle's target, {board.title}"
    modelled = _model_latency(board, target, prompt_tokens, max_tokens, threads)
    if modelled is None:
        sentence += f"; nothing is known about the time of this {target.precision} model there"
    else:
        over = ", which is over it" if modelled.p95_with_margin_ms > max_p95_ms else ""
        sentence += (
            f"; modelled there{', with its n-grams' if target.has_ngrams else ''},"
            f" with {format_threads(modelled.threads)}: p95 of {max_tokens} tokens"
            f" {modelled.p95_ms:.1f} ms (+-{modelled.error_percent:g}%), with margin"
            f" {modelled.p95_with_margin_ms:.0f} ms of {max_p95_ms:g} ms{over}"
        )
    return TargetBoard(board.name, board.title, False, modelled, sentence)


def is_board(machine: str | None, model: str | None, board: Board) -> bool:
    """Return whether a machine is such a board.

    A single board is recognized by the model in its device tree. A class of machines, which has neither a
    device tree nor a fixed memory, is recognized by its architecture.

    Args:
        machine: Architecture of the machine, as `uname -m` prints it.
        model: Name of the machine, from the device tree.
        board: The board.
    """
    if MACHINE_NAMES.get(machine or "", machine) != board.processor.machine:
        return False
    if board.device_tree is None and board.memory is None:
        return True
    return (model or "").startswith(board.device_tree or board.title)


def _model_latency(
    board: Board, target: BundleTarget, prompt_tokens: Sequence[int], max_tokens: int, threads: int
) -> ModelledLatency | None:
    if board.cost_model is None or target.precision != "int8":  # the formula is that of int8 models
        return None
    from tinyedge.fit.cost_model import CostModel

    cores = board.processor.cores or 1
    threads = min(threads, cores) if board.cost_model.threads else 1
    costs = CostModel.from_data(board.name, board.cost_model, threads)
    modelled = {
        n: costs.response_ms(target.config, n, max_tokens, is_mixed=target.has_ngrams)
        for n in set(prompt_tokens)
    }
    p95 = stats.percentile(sorted(modelled[n] for n in prompt_tokens), 95)
    margin = costs.latency.margin
    return ModelledLatency(p95, costs.latency.error_percent, margin, margin * p95, threads)
