"""The engines that compute a bundle's model, by name, and the choice of one in the environment.

Does not know how they compute: `tinyedge.runtime.engine` opens them.
"""

import os
from typing import NamedTuple

from tinyedge.core.errors import EngineError

VARIABLE = "TINYEDGE_ENGINE"
KERNELS, ONNXRUNTIME = "kernels", "onnxruntime"
PACKAGE = "tinyedge_kernels"  # which contains the kernels


class EngineChoice(NamedTuple):
    """The engine that computes a model, and why it was chosen."""

    name: str
    """KERNELS or ONNXRUNTIME."""
    instructions: str | None
    """The instruction set of the kernels, such as "neon"; None with ONNX Runtime, which does not name it."""
    reason: str
    """Why this engine, in words."""

    @property
    def title(self) -> str:
        """Its name and its instruction set."""
        return f"{self.name} ({self.instructions})" if self.instructions else self.name


def read_choice() -> str | None:
    """Return the engine that the environment chooses; None if it leaves the choice open.

    Raises:
        EngineError: It is unknown.
    """
    value = os.environ.get(VARIABLE) or None
    if value not in (None, KERNELS, ONNXRUNTIME):
        raise EngineError(
            f"{VARIABLE} is {value!r}, which is not an engine",
            f"set it to {KERNELS} or {ONNXRUNTIME}, or unset it to use {KERNELS} where they are installed",
        )
    return value
