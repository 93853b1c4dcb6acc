"""Arrays by name, and what logits say of probabilities. Knows numpy alone.

The names are for annotations: no start of the device pays for `numpy.typing`, which nothing that runs needs.
"""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Ids: TypeAlias = "npt.NDArray[np.uint16]"
Logits: TypeAlias = "npt.NDArray[np.float32]"
Doubles: TypeAlias = "npt.NDArray[np.float64]"


def log_softmax(logits: Logits) -> Doubles:
    """(V,) logits to log probabilities, in double precision."""
    wide = logits.astype(np.float64)
    wide -= wide.max()
    wide -= np.log(np.exp(wide).sum())
    return wide
