"""Modelled time and memory of an answer on a board: amounts of work times coefficients.

In: a board's cost model as data, whose coefficients `python -m bench.twin scale` fitted to counts of the
emulated board. Out: a `CostModel`. Does not know how the shapes were counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tinyedge.boards.board import Board, CostData, LatencyModel
from tinyedge.boards.from_json import show_key
from tinyedge.boards.load import board_file, known_boards
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import UsageError
from tinyedge.fit.workload import FILL_TERMS, FLOAT_BYTES, INSTRUCTION_TERMS, Work, answer_work

# What a process that answers keeps in memory.
MEMORY_TERMS = {
    "process": "Python, its modules, and everything that does not depend on the shape",
    "int8_bytes": "a byte of weights: read, checked, packed",
    "cache_bytes": "a byte of the cache",
    "pieces": "a piece of the vocabulary",
}
TERMS = {"instructions": INSTRUCTION_TERMS, "dram_fills": FILL_TERMS, "peak_bytes": MEMORY_TERMS}


@dataclass(frozen=True)
class CostModel:
    """Costs of an answer on one board."""

    board: str
    """Name of the board."""
    instructions: Mapping[str, float]
    """Instructions for one of each term of `INSTRUCTION_TERMS`."""
    dram_fills: Mapping[str, float]
    """Lines of 64 bytes from DRAM for one of each term of `FILL_TERMS`."""
    peak_bytes: Mapping[str, float]
    """Bytes for one of each term of `MEMORY_TERMS`."""
    latency: LatencyModel
    """From instructions and DRAM fills to time; its margin is what a gate applies."""
    prompt_tokens: tuple[int, ...]
    """Lengths of the benchmark's prompts, BOS included."""

    @classmethod
    def from_data(cls, board: str, data: CostData) -> "CostModel":
        """The cost model of the board named `board`.

        Raises:
            UsageError: If its terms are not those of this version.
        """
        for field, terms in TERMS.items():
            if unmatched := sorted(set(getattr(data, field)) ^ set(terms)):
                names = ", ".join(map(show_key, unmatched))
                raise UsageError(
                    f"board {board}: cost_model.{field} has unknown or missing terms: {names}",
                    "fit it again with this version: python -m bench.twin scale",
                )
        return cls(
            board,
            data.instructions,
            data.dram_fills,
            data.peak_bytes,
            data.latency_model,
            data.prompt_tokens,
        )

    def modelled_ms(self, work: Work) -> float:
        """Modelled time of some work in ms, one thread."""
        instructions = dot_product(self.instructions, work)
        return self.latency.milliseconds(instructions, dot_product(self.dram_fills, work))

    def response_ms(self, config: ModelConfig, prompt_tokens: int, max_tokens: int) -> float:
        """Modelled time of a complete answer in ms.

        Args:
            config: The shape of the model.
            prompt_tokens: Length of the prompt, BOS included.
            max_tokens: Tokens of the answer.
        """
        return sum(map(self.modelled_ms, answer_work(config, prompt_tokens, max_tokens)))

    def p95_ms(self, config: ModelConfig, max_tokens: int) -> float:
        """Modelled p95 of the benchmark in ms: its longest prompts, which are two of eight."""
        return max(self.response_ms(config, tokens, max_tokens) for tokens in self.prompt_tokens)

    def peak_rss(self, config: ModelConfig) -> float:
        """Peak memory of the process that answers, in bytes."""
        return dot_product(self.peak_bytes, memory_amounts(config))


def require_cost_data(board: Board) -> CostData:
    """The cost model of a board, as data.

    Raises:
        UsageError: If the board has none, as parameter `target`.
    """
    if board.cost_model is None:
        known = [one.name for one in known_boards() if one.cost_model is not None]
        others = [name for name in known if name != board.name]  # a file may have the name of a known board
        choice = f"choose one of: {', '.join(others)}, or " if others else ""
        raise UsageError(
            f"target {board.name} has no cost model",
            f"{choice}add a cost_model, as in {board_file(known[0])}",
            ("target",),
        )
    return board.cost_model


def dot_product(coefficients: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    """Sum over the coefficients' terms; other amounts do not count."""
    return sum(value * amounts[name] for name, value in coefficients.items())


def memory_amounts(config: ModelConfig) -> dict[str, float]:
    """Amount of each of MEMORY_TERMS for a shape."""
    width = config.nhead * config.head_width
    weights = config.num_layers * (4 * config.d_model * width + 2 * config.d_model * config.dim_feedforward)
    return {
        "process": 1,
        "int8_bytes": weights + 2 * config.vocab_size * config.d_model,
        "cache_bytes": 2 * config.num_layers * width * config.max_seq_length * FLOAT_BYTES,
        "pieces": config.vocab_size,
    }
