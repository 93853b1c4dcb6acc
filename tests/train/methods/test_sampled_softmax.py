"""Sampled softmax: exact if it samples all pieces, otherwise unbiased and reproducible."""

import math

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tinyedge.train.methods import sampled_softmax as module
from tinyedge.train.methods.loss import output_cross_entropy
from tinyedge.train.methods.sampled_softmax import CandidateSampler

PIECES = 60


@pytest.fixture
def problem(monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    monkeypatch.setattr(module, "FREQUENT", 5)
    torch.manual_seed(0)
    return torch.randn(2, 6, 8), torch.randn(PIECES, 8), torch.randint(0, PIECES, (2, 6))


def estimate(
    problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor], sampled: int, seed: int
) -> torch.Tensor:
    hidden, weight, targets = problem
    drawn = CandidateSampler(torch.arange(PIECES), sampled).draw(targets, seed)
    return output_cross_entropy(
        hidden, weight[drawn.ids], drawn.index_of[targets], torch.float32, drawn.log_weights
    )


def test_with_all_pieces_it_equals_the_full_softmax(
    problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    torch.testing.assert_close(estimate(problem, PIECES, 0), output_cross_entropy(*problem))


def test_candidates_contain_targets_and_frequent_pieces_and_depend_on_the_seed(
    problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    targets = problem[2]
    sampler = CandidateSampler(torch.arange(PIECES), 10)
    drawn, again, other = sampler.draw(targets, 1), sampler.draw(targets, 1), sampler.draw(targets, 2)
    assert len(set(drawn.ids.tolist())) == len(drawn.ids)
    certain = {*targets.flatten().tolist(), *range(PIECES - 5, PIECES)}
    assert certain == set(drawn.ids[drawn.log_weights == 0].tolist())
    assert torch.equal(drawn.ids[drawn.index_of[targets]], targets)
    assert torch.equal(drawn.ids, again.ids)
    assert not torch.equal(drawn.ids, other.ids)
    represented = len(drawn.ids[drawn.log_weights > 0]) * math.exp(drawn.log_weights.max())
    assert represented == pytest.approx(PIECES - len(certain))


def test_the_normalizer_is_unbiased(problem: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    hidden, weight, targets = problem
    logits = (hidden @ weight.T).flatten(0, 1)
    sums = []
    for seed in range(4000):
        drawn = CandidateSampler(torch.arange(PIECES), 10).draw(targets, seed)
        sums.append((logits[:, drawn.ids] + drawn.log_weights).exp().sum(dim=1))
    torch.testing.assert_close(torch.stack(sums).mean(dim=0), logits.exp().sum(dim=1), rtol=0.05, atol=0)
