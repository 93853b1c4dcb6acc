"""Muon: orthogonal updates, stacked matrices, agreement with torch's implementation."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.train.methods.muon import Muon, orthogonalize  # noqa: E402


@pytest.mark.parametrize("shape", [(128, 128), (256, 128), (128, 256)])
def test_singular_values_are_close_to_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalize(torch.randn(2, *shape)))
    assert values.max() < 1.3
    assert values.median() > 0.6  # the quintic brings all but the smallest into [0.7, 1.2]


def test_stacked_matrices_are_updated_separately() -> None:
    torch.manual_seed(1)
    stacked = torch.nn.Parameter(torch.randn(12, 8))
    parts = [torch.nn.Parameter(part.clone()) for part in stacked.detach().split(4)]
    gradient = torch.randn(12, 8)
    stacked.grad = gradient.clone()
    for part, piece in zip(parts, gradient.split(4), strict=True):
        part.grad = piece.clone()
    Muon([{"params": [stacked], "parts": 3}], lr=0.1, weight_decay=0.1).step()
    Muon([{"params": parts}], lr=0.1, weight_decay=0.1).step()
    torch.testing.assert_close(stacked.data, torch.cat([part.data for part in parts]))


def test_updates_agree_with_torchs_muon() -> None:
    """Torch iterates in bfloat16, so directions agree to its precision, over several steps."""
    torch.manual_seed(2)
    ours = torch.nn.Parameter(torch.randn(96, 32))
    theirs = torch.nn.Parameter(ours.detach().clone())
    mine = Muon([{"params": [ours]}], lr=0.02, weight_decay=0.1)
    reference = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1)
    start = ours.detach().clone()
    for _ in range(5):
        ours.grad = torch.randn(96, 32)
        theirs.grad = ours.grad.clone()
        mine.step()
        reference.step()
    moved, expected = (ours - start).flatten(), (theirs - start).flatten()
    assert torch.nn.functional.cosine_similarity(moved, expected, dim=0) > 0.999
    assert 0.98 < (moved.norm() / expected.norm()).item() < 1.02
