"""Shapes of usual proportions that a board runs within its budgets, for `tinyedge train --budget`.

In: a board. Out: shapes, fewest weights first, and what one of them costs. Does not know text or training.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tinyedge.boards.load import load_board
from tinyedge.core.config import MODEL_RANGES, ModelConfig
from tinyedge.core.errors import FitError
from tinyedge.fit.cost_model import CostModel, require_cost_data
from tinyedge.fit.search import (
    D_MODELS,
    MIN_LAYERS,
    FitBudget,
    SizedShape,
    choose_heads,
    search,
    size_shape,
)
from tinyedge.ngram import DEFAULT_NGRAM_MB

# As in the presets: the feed-forward layer is twice as wide as the model, and a block has 40 to 96 of the
# width. Shapes that are much deeper or wider are slower to train for the same quality.
FEEDFORWARD_RATIO = 2
WIDTH_PER_LAYER = (40, 96)
CONTEXT = 256  # costs the board a megabyte, and predicts text better than 128


def make_usual_shape(d_model: int, num_layers: int) -> ModelConfig:
    """Return a shape with the usual heads and feed-forward layer of its width.

    Raises:
        UsageError: A value is outside its range.
    """
    return ModelConfig(
        d_model=d_model,
        nhead=choose_heads(d_model),
        num_layers=num_layers,
        dim_feedforward=FEEDFORWARD_RATIO * d_model,
    )


@dataclass(frozen=True)
class BoardShapes:
    """What a board can run."""

    board: str
    """The board's name or its JSON file."""
    model: CostModel
    """Costs of an answer on the board."""
    budget: FitBudget
    """The board's budgets."""

    @classmethod
    def from_board(cls, name: str, max_seq_length: int | None = None) -> "BoardShapes":
        """The shapes of a board.

        Args:
            name: The board's name or its JSON file.
            max_seq_length: Context in tokens; None for CONTEXT.

        Raises:
            UsageError: The board is unknown or has no cost model, or the context is outside its range.
        """
        board = load_board(name, "budget")
        model = CostModel.from_data(board.name, require_cost_data(board, "budget"))
        return cls(name, model, FitBudget.from_board(board, max_seq_length=max_seq_length))

    @property
    def context(self) -> int:
        """Context of the shapes in tokens."""
        return self.budget.max_seq_length or CONTEXT

    def size(self, config: ModelConfig, ngram_mb: float = DEFAULT_NGRAM_MB) -> SizedShape:
        """Compute what a shape costs on the board, and compare it with the budgets.

        Args:
            config: The shape.
            ngram_mb: Size of its table of n-grams in MB; by default the largest that `tinyedge export` makes.
        """
        return size_shape(self.model, replace(self.budget, ngram_mb=ngram_mb), "", config)

    def list_shapes(self, vocab_size: int) -> list[ModelConfig]:
        """List the shapes that meet the budgets, by the weights in their blocks, fewest first.

        Raises:
            FitError: If none does; it tells by how much the closest shape exceeds a budget.
        """
        fitting = [shape for shape in map(self.size, self._list_usual(vocab_size)) if shape.fits]
        if not fitting:
            search(self.model, replace(self.budget, vocab_size=vocab_size))  # raises if nothing at all fits
            raise FitError(
                f"no shape of usual proportions keeps the budgets of {self.model.board}",
                "omit --budget, and pass the flags of a shape that `tinyedge fit` suggests",
            )
        ordered = sorted(fitting, key=lambda shape: (shape.block_parameters, shape.p95_ms))
        return [shape.config for shape in ordered]

    def _list_usual(self, vocab_size: int) -> Iterator[ModelConfig]:
        for width in D_MODELS:
            for layers in range(MIN_LAYERS, MODEL_RANGES["num_layers"][1] + 1):
                if WIDTH_PER_LAYER[0] <= width / layers <= WIDTH_PER_LAYER[1]:
                    usual = make_usual_shape(width, layers)
                    yield replace(usual, vocab_size=vocab_size, max_seq_length=self.context)
