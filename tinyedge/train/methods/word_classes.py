"""Classes of pieces by what stands beside them: months with months, verbs with verbs, names with names.

Pieces with the same neighbours are used alike (Brown et al., "Class-Based n-gram Models of Natural
Language", 1992). Each piece's counts of left and right neighbours become a short vector by a randomized
singular value decomposition (Halko et al., 2011), as in Hellinger PCA (Lebret and Collobert, 2014), and
k-means makes classes of the vectors.
"""

import torch
from torch import Tensor

SIZES = (64, 256)  # how many classes: coarse and fine
NEIGHBOURS = 1000  # the most frequent pieces, which all are described by
DIMENSIONS = 64
EXTRA_DIMENSIONS, POWER_ITERATIONS = 10, 3  # Halko et al.'s, for a spectrum that falls slowly
ITERATIONS = 15  # of k-means
PRIOR = 5.0  # neighbours; a piece that was seen less often than this tends to the middle


def classes_of(tokens: Tensor, vocab_size: int) -> list[Tensor]:
    """The class of each piece, (V,) int64, for each of SIZES. tokens: (N,) int64, of a text.

    A function of its arguments on one machine: all that is random is drawn with one seed.
    """
    counts = torch.bincount(tokens, minlength=vocab_size)
    generator = torch.Generator().manual_seed(0)
    vectors = _vectors(tokens, counts, generator)
    weights = (counts + 1.0).sqrt()
    return [_k_means(vectors, weights, min(size, vocab_size), generator) for size in SIZES]


def _vectors(tokens: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """(V, DIMENSIONS): pieces with neighbours alike lie close."""
    known = min(NEIGHBOURS, len(counts))
    rank = torch.empty_like(counts)
    rank[counts.argsort(descending=True, stable=True)] = torch.arange(len(counts))
    table = torch.zeros(len(counts), 2 * known)  # how often which piece stood right and left of each
    for piece, neighbour, column in ((tokens[:-1], tokens[1:], 0), (tokens[1:], tokens[:-1], known)):
        seen = rank[neighbour] < known
        places = piece[seen] * 2 * known + rank[neighbour[seen]] + column
        table.view(-1).index_add_(0, places, torch.ones(len(places)))
    table.div_(table.sum(dim=1, keepdim=True) + PRIOR).sqrt_()
    weights = (counts + 1.0).sqrt()
    table -= weights @ table / weights.sum()
    sketch = table @ torch.randn(2 * known, DIMENSIONS + EXTRA_DIMENSIONS, generator=generator)
    for _ in range(POWER_ITERATIONS):
        sketch = table @ (table.t() @ torch.linalg.qr(sketch)[0])
    basis = torch.linalg.qr(sketch)[0]
    turned, values, _ = torch.linalg.svd(basis.t() @ table, full_matrices=False)
    vectors: Tensor = (basis @ turned[:, :DIMENSIONS]) * values[:DIMENSIONS]
    return vectors


def _k_means(vectors: Tensor, weights: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """The class of each vector, (V,); a class that loses all its vectors keeps its centre."""
    centres = vectors[torch.multinomial(weights, size, generator=generator)]
    for _ in range(ITERATIONS):
        nearest = torch.cdist(vectors, centres).argmin(dim=1)
        total = torch.zeros(size).index_add_(0, nearest, weights)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors * weights[:, None])
        centres = torch.where(total[:, None] > 0, sums / total.clamp(min=1e-9)[:, None], centres)
    return torch.cdist(vectors, centres).argmin(dim=1)
