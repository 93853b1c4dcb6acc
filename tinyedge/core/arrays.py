"""Names for NumPy array types, and log probabilities from logits. Knows NumPy only.

The type names are for annotations, so `numpy.typing` is imported by type checkers only: the device's start
does not pay for it.
"""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

TokenIds: TypeAlias = "npt.NDArray[np.uint16]"  # the type of the token files: a vocabulary has at most 32,000
Integers: TypeAlias = "npt.NDArray[np.int64]"  # counts, and the integer inputs and outputs of a graph
IndexArray: TypeAlias = "npt.NDArray[np.intp]"  # positions in another array, as argsort returns them
Logits: TypeAlias = "npt.NDArray[np.float32]"
Doubles: TypeAlias = "npt.NDArray[np.float64]"


def log_softmax(logits: Logits) -> Doubles:
    """Convert (V,) logits to log probabilities in double precision."""
    wide = logits.astype(np.float64)
    wide -= wide.max()
    wide -= np.log(np.exp(wide).sum())
    return wide
