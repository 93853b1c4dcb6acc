"""What a model wrote in the course of its training: noise, words, sentences.

In: the samples of a run. Out: lines for the terminal. Does not know the model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tinyedge.core.columns import cut_words
from tinyedge.core.printable import printable

MAX_PROMPTS = 4  # a run has one for each language, or two for its only one


def format_samples(
    samples: Sequence[Mapping[str, Any]], width: int | None, is_trained: bool = False
) -> list[str]:
    """Return a block for each prompt: texts before training, after the first, a middle and the last epoch.

    Args:
        samples: A run's samples, each with `epoch`, `prompt` and `text`.
        width: Columns, at which a line ends after a word; None for complete texts.
        is_trained: Whether the run went on from a trained model.
    """
    epochs = sorted({sample["epoch"] for sample in samples})
    shown = sorted({*epochs[:2], *epochs[len(epochs) // 2 :][:1], *epochs[-1:]})
    names = {epoch: f"epoch {epoch}" if epoch else "before" if is_trained else "untrained" for epoch in shown}
    margin = max(map(len, names.values()), default=0)
    lines: list[str] = []
    for prompt in list(dict.fromkeys(sample["prompt"] for sample in samples))[:MAX_PROMPTS]:
        lines.append(f"what the model writes after “{printable(prompt)}”:")
        for sample in samples:
            if sample["prompt"] == prompt and sample["epoch"] in names:
                text = printable(sample["text"].removeprefix(prompt).strip())
                line = f"  {names[sample['epoch']]:<{margin}}  {text}"
                lines.append(line if width is None else cut_words(line, width))
    return lines
