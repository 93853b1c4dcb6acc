"""What several threads save, as Markdown, by the cost model of the board's file. Counts and fits nothing."""

from typing import Final

from bench.twin.layout import BOARD, CORES
from tinyedge.boards.board import CostData
from tinyedge.core.config import PRESETS, ModelConfig
from tinyedge.fit.cost_model import CostModel

SHORT: Final = 7  # tokens of the benchmark's shortest prompt
TOKENS: Final = 20  # of an answer


def token_ms(model: CostModel, config: ModelConfig) -> float:
    """Modelled time in ms of a decoded token: the mean of those of an answer to a short prompt."""
    first, whole = (model.response_ms(config, SHORT, tokens) for tokens in (1, TOKENS))
    return (whole - first) / (TOKENS - 1)


def threads_table(costs: CostData) -> str:
    """A decoded token and a first one of each preset, with one thread and with several."""
    models = [CostModel.from_data(BOARD.name, costs, threads) for threads in range(1, CORES + 1)]
    longest = max(costs.prompt_tokens)
    one, several = (models[at].latency.error_percent for at in (0, -1))
    numbers = " | ".join(f"{model.threads}" for model in models)
    lines = [
        f"| modelled ms (+-{one:g}% with one thread, +-{several:g}% with several); threads: | {numbers} |",
        "|---|" + "---|" * len(models),
    ]
    for name, config in PRESETS.items():
        tokens = " | ".join(f"{token_ms(model, config):.2f}" for model in models)
        firsts = " | ".join(f"{model.response_ms(config, longest, 1):.1f}" for model in models)
        lines.append(f"| `{name}`: a decoded token | {tokens} |")
        lines.append(f"| `{name}`: the first token after a prompt of {longest} | {firsts} |")
    return "\n".join(lines)
