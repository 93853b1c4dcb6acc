"""What an answer takes on a target, modelled, and what memory: work times coefficients.

In: a target's data file, which `python -m bench.twin scale` writes. Out: a `CostModel`. The coefficients are
fitted to counts of the emulated board; the file says to which, and how far off they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import TinyEdgeError, UsageError
from tinyedge.fit.workload import FLOAT, Work, answer

SCHEMA = "tinyedge.cost/1"
FOLDER = Path(__file__).parent


# What a process that answers holds in memory.
HOLDINGS = {
    "process": "Python, its modules, and all that no shape changes",
    "int8_bytes": "a byte of weights: read, checked, packed",
    "cache_bytes": "a byte of the cache",
    "pieces": "a piece of the vocabulary",
}


@dataclass(frozen=True)
class CostEstimate:
    """Instructions, and lines of 64 bytes from DRAM."""

    instructions: float
    fills: float


@dataclass(frozen=True)
class CostModel:
    """A target's costs.

    instructions, fills: what one of each term of `tinyedge.fit.workload` costs. peak_bytes: of HOLDINGS.
    ns_per_instruction, ns_per_fill, error_percent: the twin's latency model. margin: what a gate multiplies
    it with. prompt_tokens: lengths of the bench's prompts. source: where all that is from, how far off it is.
    """

    target: str
    instructions: Mapping[str, float]
    fills: Mapping[str, float]
    peak_bytes: Mapping[str, float]
    ns_per_instruction: float
    ns_per_fill: float
    margin: float
    error_percent: float
    prompt_tokens: tuple[int, ...]
    source: Mapping[str, Any]

    def figures(self, work: Work) -> CostEstimate:
        """Of some work."""
        return CostEstimate(dot(self.instructions, work), dot(self.fills, work))

    def modelled_ms(self, figures: CostEstimate) -> float:
        """On the target, one thread."""
        return (self.ns_per_instruction * figures.instructions + self.ns_per_fill * figures.fills) / 1e6

    def response_ms(self, config: ModelConfig, prompt_tokens: int, max_tokens: int) -> float:
        """Of a whole answer, modelled; prompt_tokens: with BOS."""
        return sum(self.modelled_ms(self.figures(work)) for work in answer(config, prompt_tokens, max_tokens))

    def p95_ms(self, config: ModelConfig, max_tokens: int) -> float:
        """Of the bench's prompts, modelled: the dearest answer, as two of its eight prompts are that long."""
        return max(self.response_ms(config, tokens, max_tokens) for tokens in self.prompt_tokens)

    def peak_rss(self, config: ModelConfig) -> float:
        """Bytes at most, of the process that answers."""
        return dot(self.peak_bytes, holdings(config))


def dot(coefficients: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    """The sum of products, a term each."""
    return sum(value * amounts[name] for name, value in coefficients.items())


def holdings(config: ModelConfig) -> dict[str, float]:
    """How much of each of HOLDINGS a shape has."""
    width = config.nhead * config.head_width
    weights = config.num_layers * (4 * config.d_model * width + 2 * config.d_model * config.dim_feedforward)
    return {
        "process": 1,
        "int8_bytes": weights + 2 * config.vocab_size * config.d_model,
        "cache_bytes": 2 * config.num_layers * width * config.max_seq_length * FLOAT,
        "pieces": config.vocab_size,
    }


def load(target: str, folder: Path = FOLDER) -> CostModel:
    """The cost model of a target. Raises UsageError for one that is unknown."""
    known = sorted(path.stem for path in folder.glob("*.json"))
    if target not in known:
        raise UsageError(f"--target {target} is unknown", f"choose one of: {', '.join(known)}")
    return parse(files.read_json(folder / f"{target}.json", SCHEMA, TinyEdgeError))


def parse(value: Mapping[str, Any]) -> CostModel:
    """From the data file's JSON."""
    latency = value["latency_model"]
    return CostModel(
        value["target"],
        value["instructions"],
        value["dram_fills"],
        value["peak_bytes"],
        latency["ns_per_instruction"],
        latency["ns_per_dram_fill"],
        latency["margin"],
        latency["error_percent"],
        tuple(value["prompt_tokens"]),
        value["source"],
    )
