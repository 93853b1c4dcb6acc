"""The prompts of the benchmark: a fixed, named set, so that two reports measure the same work.

In: nothing, or a file of prompts. Out: a PromptSet. A change of a prompt changes every figure, so the set
must then get a new name. Two of the eight prompts are long. So more than 5% of the samples have a long
prompt, and the p95 is the latency of a long prompt.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import UsageError

MAX_PROMPTS, MAX_PROMPT_CHARACTERS, MAX_FILE_BYTES = 1000, 10_000, 1 << 20

PROMPT_SET = "bilingual-8/1"

PROMPTS = {
    "en-word": "Hello",
    "es-word": "Hola",
    "en-phrase": "Once upon a time there was",
    "es-phrase": "Había una vez en un pueblo",
    "en-sentence": "She opened the window, looked at the quiet street for a while, and then she said that",
    "es-sentence": "Abrió la ventana, miró un rato la calle tranquila y después dijo en voz baja que",
    "en-paragraph": (
        "The old lighthouse stood at the end of the road, where the wind never rested. Every evening the"
        " keeper climbed the stairs with a lamp in his hand, counted the ships that came home, and wrote"
        " their names in a book. One night, when the sea was white with foam, he saw a small boat that"
        " was in no book at all, and he"
    ),
    "es-paragraph": (
        "El viejo molino estaba junto al río, donde los niños jugaban en verano. Todas las mañanas el"
        " molinero abría la puerta, saludaba a los vecinos y preguntaba por la cosecha. Un día, cuando el"
        " agua bajaba más clara que nunca, encontró entre las piedras una llave de hierro que nadie en el"
        " pueblo había visto, y entonces"
    ),
}


@dataclass(frozen=True)
class PromptSet:
    """A named set of prompts. Figures of different sets are not comparable."""

    name: str
    """Name of the set."""
    prompts: Mapping[str, str]
    """Prompts by name."""


BILINGUAL = PromptSet(PROMPT_SET, PROMPTS)


def read_prompts(path: Path) -> PromptSet:
    """Read prompts from a file, one per line. Blank lines are skipped.

    Returns:
        The prompts. The name of the set contains part of the file's sha256.

    Raises:
        UsageError: The file cannot be used; the message names the file and the line.
    """
    import hashlib  # not in the worker, whose memory is measured

    try:
        if not path.is_file():
            raise UsageError(f"--prompts {path} is not a file", "pass a text file with one prompt per line")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"--prompts {path} is larger than {MAX_FILE_BYTES} bytes", "remove some prompts")
        data = path.read_bytes()
        lines = data.decode("utf-8").splitlines()
    except OSError as failure:
        raise UsageError(
            f"--prompts {path} cannot be read: {failure.strerror}", "check the permissions"
        ) from None
    except UnicodeDecodeError as failure:
        raise UsageError(f"--prompts {path} is not UTF-8: {failure.reason}", "save it as UTF-8") from None
    prompts = {f"line-{number}": line for number, line in enumerate(lines, 1) if line.strip()}
    if not 0 < len(prompts) <= MAX_PROMPTS:
        raise UsageError(
            f"--prompts {path} has {len(prompts)} prompts, 1 to {MAX_PROMPTS} are needed", "one per line"
        )
    for name, prompt in prompts.items():
        if len(prompt) > MAX_PROMPT_CHARACTERS:
            raise UsageError(
                f"--prompts {path}, {name}: {len(prompt)} characters, the maximum is {MAX_PROMPT_CHARACTERS}",
                "shorten it: the model uses only as many tokens as its context",
            )
    return PromptSet(f"{path.name} sha256:{hashlib.sha256(data).hexdigest()[:12]}", prompts)
