"""Word classes: pieces clustered by their neighbours, such as months, verbs or names.

Pieces with similar neighbours are used alike (Brown et al., "Class-Based n-gram Models of Natural Language",
1992). Each piece's counts of left and right neighbours become a short vector by a randomized singular value
decomposition (Halko et al., 2011), as in Hellinger PCA (Lebret and Collobert, 2014). k-means clusters the
vectors.
"""

import torch
from torch import Tensor

CLASS_COUNTS = (64, 256)  # coarse and fine
NEIGHBOURS = 1000  # the most frequent pieces, by which all pieces are described
DIMENSIONS = 64
EXTRA_DIMENSIONS, POWER_ITERATIONS = 10, 3  # Halko et al.'s, for a spectrum that falls slowly
K_MEANS_ITERATIONS = 15
PRIOR = 5.0  # neighbours; pieces that occur less often than this stay close to the mean


def cluster_pieces(tokens: Tensor, vocab_size: int) -> list[Tensor]:
    """Assign each piece to a class, once for each of CLASS_COUNTS.

    On one machine the result depends only on the arguments: all random numbers have a fixed seed.

    Args:
        tokens: A text, (N,) int64.
        vocab_size: Number V of pieces.

    Returns:
        Class of each piece, (V,) int64.
    """
    counts = torch.bincount(tokens, minlength=vocab_size)
    generator = torch.Generator().manual_seed(0)
    vectors = _embed_pieces(tokens, counts, generator)
    weights = (counts + 1.0).sqrt()
    return [_k_means(vectors, weights, min(classes, vocab_size), generator) for classes in CLASS_COUNTS]


def _embed_pieces(tokens: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """Return a vector for each piece, (V, DIMENSIONS). Pieces with similar neighbours are close."""
    known = min(NEIGHBOURS, len(counts))
    rank = torch.empty_like(counts)
    rank[counts.argsort(descending=True, stable=True)] = torch.arange(len(counts))
    table = torch.zeros(len(counts), 2 * known)  # counts of right and left neighbours
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
    rotation, values, _ = torch.linalg.svd(basis.t() @ table, full_matrices=False)
    vectors: Tensor = (basis @ rotation[:, :DIMENSIONS]) * values[:DIMENSIONS]
    return vectors


def _k_means(vectors: Tensor, weights: Tensor, classes: int, generator: torch.Generator) -> Tensor:
    """Return the class of each vector, (V,). A class that loses all its vectors keeps its centre."""
    centres = vectors[torch.multinomial(weights, classes, generator=generator)]
    for _ in range(K_MEANS_ITERATIONS):
        nearest = torch.cdist(vectors, centres).argmin(dim=1)
        total = torch.zeros(classes).index_add_(0, nearest, weights)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors * weights[:, None])
        centres = torch.where(total[:, None] > 0, sums / total.clamp(min=1e-9)[:, None], centres)
    return torch.cdist(vectors, centres).argmin(dim=1)
