"""Names for NumPy array types, for annotations.

NumPy is imported by type checkers only: the device's start does not pay for it.
"""

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

TokenIds: TypeAlias = "npt.NDArray[np.uint16]"  # the type of the token files: a vocabulary has at most 32,000
Integers: TypeAlias = "npt.NDArray[np.int64]"  # counts, and the integer inputs and outputs of a graph
IndexArray: TypeAlias = "npt.NDArray[np.intp]"  # positions in another array, as argsort returns them
Logits: TypeAlias = "npt.NDArray[np.float32]"
Doubles: TypeAlias = "npt.NDArray[np.float64]"
Booleans: TypeAlias = "npt.NDArray[np.bool_]"
