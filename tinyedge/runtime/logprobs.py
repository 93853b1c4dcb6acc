"""What all logits together say: log probabilities, and the largest of them.

In: logits (V,). Out: numbers about them. Knows NumPy only, whose import takes longer than a short answer, so
the runtime imports this module only where all logits are needed.
"""

import numpy as np

from tinyedge.core.arrays import Doubles, IndexArray, Logits

# For 40 candidates, the maxima of 160 blocks are compared: about 45 logits remain to be sorted.
BLOCKS_PER_CANDIDATE = 4


def log_softmax(logits: Logits) -> Doubles:
    """Convert (V,) logits to log probabilities in double precision."""
    wide = logits.astype(np.float64)
    wide -= wide.max()
    wide -= np.log(np.exp(wide).sum())
    return wide


def compute_logprobs(logits: Logits, token: int, count: int) -> tuple[float, tuple[tuple[int, float], ...]]:
    """Compute the log probabilities of a token and of the `count` most likely ones, with their ids.

    Args:
        logits: (V,).
        token: Id of the token.
        count: Number of most likely tokens; may be 0.
    """
    logprobs = log_softmax(logits)
    likeliest = find_largest(logits, count) if count else ()
    return float(logprobs[token]), tuple((int(one), float(logprobs[one])) for one in likeliest)


def find_largest(logits: Logits, k: int) -> IndexArray:
    """Return the ids of the `k` largest of at least `k` logits, largest first; of equals, the lowest ids."""
    candidates = np.flatnonzero(logits >= _find_lower_bound(logits, k))
    return candidates[np.argsort(-logits[candidates], kind="stable")[:k]]


def _find_lower_bound(logits: Logits, k: int) -> np.float32:
    """Find a value that `k` or slightly more logits reach: the k-th largest of the maxima of blocks.

    The CPU vectorizes the maxima and the caller's comparison, but not a partition of all logits.
    """
    blocks = k * BLOCKS_PER_CANDIDATE
    width = len(logits) // blocks
    if width > 1:
        logits = logits[: width * blocks].reshape(width, blocks).max(axis=0)
    bound: np.float32 = np.partition(logits, len(logits) - k)[len(logits) - k]
    return bound
