"""Modelled time and memory of an answer on a board: amounts of work times coefficients.

In: a board's cost model as data, whose coefficients `python -m bench.twin scale` fitted to counts of the
emulated board. Out: a `CostModel`. Does not know how the shapes were counted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from tinyedge.boards.board import Board, CostData, LatencyModel
from tinyedge.boards.from_json import show_key
from tinyedge.boards.latency import Region, ThreadCosts
from tinyedge.boards.load import board_file, known_boards
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import UsageError
from tinyedge.core.settings import require_range
from tinyedge.fit.thread_split import split_pass
from tinyedge.fit.workload import CORE_TERMS, DRAM_TERMS, FLOAT_BYTES, Work, answer_work, passes

# What a process that answers keeps in memory.
MEMORY_TERMS = {
    "process": "Python, its modules, and everything that does not depend on the shape",
    "int8_bytes": "a byte of weights: read, checked, packed",
    "cache_bytes": "a byte of the cache",
    "pieces": "a piece of the vocabulary",
    "table_bytes": "a byte of the table of n-grams, after so many texts that all of it was read",
}
NO_WORK = dict.fromkeys((*CORE_TERMS, *DRAM_TERMS), 0.0)
TERMS = {"core_cycles": CORE_TERMS, "memory_ns": DRAM_TERMS, "peak_bytes": MEMORY_TERMS}


@dataclass(frozen=True)
class CostModel:
    """Costs of an answer on one board."""

    board: str
    """Name of the board."""
    core_cycles: Mapping[str, float]
    """Cycles of the core for one of each term of `CORE_TERMS`."""
    memory_ns: Mapping[str, float]
    """Nanoseconds of waiting for DRAM, for one of each term of `DRAM_TERMS`."""
    peak_bytes: Mapping[str, float]
    """Bytes for one of each term of `MEMORY_TERMS`."""
    latency: LatencyModel
    """From cycles and waiting to time; its error and margin are those of this number of threads."""
    prompt_tokens: tuple[int, ...]
    """Lengths of the benchmark's prompts, BOS included."""
    threads: int = 1
    """Threads that compute an answer, each on a core of its own."""
    thread_costs: ThreadCosts | None = None
    """What several threads cost; None only for a single one."""

    @classmethod
    def from_data(cls, board: str, data: CostData, threads: int = 1) -> "CostModel":
        """The cost model of the board named `board`, for a number of threads.

        Raises:
            UsageError: If its terms are not those of this version, or if it does not know several threads.
        """
        if threads > 1 and data.threads is None:
            raise UsageError(
                f"threads {threads} is not modelled for board {board}",
                "add cost_model.threads to the board's file, or use one thread",
                ("threads",),
            )
        for field, terms in TERMS.items():
            if unmatched := sorted(set(getattr(data, field)) ^ set(terms)):
                names = ", ".join(map(show_key, unmatched))
                raise UsageError(
                    f"board {board}: cost_model.{field} has unknown or missing terms: {names}",
                    "fit it again with this version: python -m bench.twin scale",
                )
        latency = data.latency_model
        if threads > 1 and data.threads is not None:
            latency = replace(
                latency,
                error_percent=data.threads.combine_error(latency.error_percent),
                margin=data.threads.combine_margin(latency.margin),
            )
        return cls(
            board,
            data.core_cycles,
            data.memory_ns,
            data.peak_bytes,
            latency,
            data.prompt_tokens,
            threads,
            data.threads,
        )

    def modelled_ms(self, work: Work) -> float:
        """Modelled time of some work in ms, by one thread."""
        return self.latency.milliseconds(
            dot_product(self.core_cycles, work), dot_product(self.memory_ns, work)
        )

    def _regions(
        self, config: ModelConfig, prompt_tokens: int, max_tokens: int, *, is_mixed: bool
    ) -> Iterator[Region]:
        """An answer as work of one thread and work that several divide."""
        for number, (rows, positions) in enumerate(passes(config.max_seq_length, prompt_tokens, max_tokens)):
            serial, shared = split_pass(config, rows, positions, self.threads, is_mixed=is_mixed)
            yield Region(self.modelled_ms({**serial, "answers": int(number == 0)}))
            for part in shared:
                work = {**NO_WORK, **part.work}
                yield Region(self.modelled_ms(work), self._transferred_lines(work), part.ways, part.forks)

    def _transferred_lines(self, work: Work) -> float:
        """Lines that DRAM transfers for what threads divide, which reads weights and keys in order.

        A term that costs less than a streamed line for each of its lines is not loaded each time. One that
        costs more waits longer for a line, but transfers it once.
        """
        streamed = self.latency.ns_per_streamed_line
        return sum(work[term] * min(1.0, ns / streamed) for term, ns in self.memory_ns.items())

    def response_ms(
        self, config: ModelConfig, prompt_tokens: int, max_tokens: int, *, is_mixed: bool = False
    ) -> float:
        """Modelled time of a complete answer in ms.

        Args:
            config: The shape of the model.
            prompt_tokens: Length of the prompt, BOS included.
            max_tokens: Tokens of the answer.
            is_mixed: Whether a table of n-grams is mixed with the model.
        """
        if self.thread_costs is None or self.threads == 1:
            work = answer_work(config, prompt_tokens, max_tokens, is_mixed=is_mixed)
            return sum(map(self.modelled_ms, work))
        regions = self._regions(config, prompt_tokens, max_tokens, is_mixed=is_mixed)
        return self.thread_costs.milliseconds(regions)

    def p95_ms(self, config: ModelConfig, max_tokens: int, *, is_mixed: bool = False) -> float:
        """Modelled p95 of the benchmark in ms: its longest prompts, which are two of eight."""
        return max(
            self.response_ms(config, tokens, max_tokens, is_mixed=is_mixed) for tokens in self.prompt_tokens
        )

    def peak_rss(self, config: ModelConfig, table_bytes: float = 0) -> float:
        """Peak memory of the process that answers, in bytes; `table_bytes`: the size of its n-grams."""
        return dot_product(self.peak_bytes, memory_amounts(config, table_bytes))


def require_cost_data(board: Board, parameter: str = "target") -> CostData:
    """The cost model of a board, as data.

    Args:
        board: The board.
        parameter: What an error calls it.

    Raises:
        UsageError: If the board has none.
    """
    if board.cost_model is None:
        known = [one.name for one in known_boards() if one.cost_model is not None]
        others = [name for name in known if name != board.name]  # a file may have the name of a known board
        choice = f"choose one of: {', '.join(others)}, or " if others else ""
        raise UsageError(
            f"{parameter} {board.name} has no cost model",
            f"{choice}add a cost_model, as in {board_file(known[0])}",
            (parameter,),
        )
    return board.cost_model


def require_board_threads(board: Board, threads: int) -> None:
    """Raise UsageError, naming the parameter `threads`, unless the board has a core for each of them."""
    cores = board.processor.cores or 1
    require_range("threads", threads, 1, cores, whole=True, unit=f"(cores of {board.name})")


def dot_product(coefficients: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    """Sum over the coefficients' terms; other amounts do not count."""
    return sum(value * amounts[name] for name, value in coefficients.items())


def memory_amounts(config: ModelConfig, table_bytes: float = 0) -> dict[str, float]:
    """Amount of each of MEMORY_TERMS for a shape with a table of n-grams of `table_bytes`."""
    width = config.nhead * config.head_width
    weights = config.num_layers * (4 * config.d_model * width + 2 * config.d_model * config.dim_feedforward)
    return {
        "process": 1,
        "int8_bytes": weights + 2 * config.vocab_size * config.d_model,
        "cache_bytes": 2 * config.num_layers * width * config.max_seq_length * FLOAT_BYTES,
        "pieces": config.vocab_size,
        "table_bytes": table_bytes,
    }
