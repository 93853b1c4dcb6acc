"""The sliced loss equals the plain loss, in value and gradients."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.train.methods import loss as loss_module  # noqa: E402
from tinyedge.train.methods.distillation import SoftTargets  # noqa: E402


@pytest.mark.parametrize("rows", [7, 64, 1000])
def test_the_loss_equals_plain_cross_entropy(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loss_module.SLICE_ROWS, "cpu", rows)
    torch.manual_seed(0)
    hidden = torch.randn(3, 25, 16, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(50, 16, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 50, (3, 25))
    plain = torch.nn.functional.cross_entropy((hidden @ weight.T).flatten(0, 1), targets.flatten())
    expected = torch.autograd.grad(plain * 2, (hidden, weight))
    sliced = loss_module.output_cross_entropy(hidden, weight, targets, torch.float64)
    found = torch.autograd.grad(sliced * 2, (hidden, weight))
    torch.testing.assert_close(sliced, plain, atol=1e-6, rtol=1e-6)  # logits are computed in fp32
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("rows", [7, 1000])
def test_with_a_teacher_the_loss_equals_plain_cross_entropy_to_the_mixed_target(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loss_module.SLICE_ROWS, "cpu", rows)
    torch.manual_seed(0)
    hidden = torch.randn(75, 16, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(50, 16, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 50, (75,))
    offsets = torch.rand(50, dtype=torch.float64)
    offsets[targets] = 0.0
    soft = SoftTargets(0.3, *(torch.randn(size, 24, dtype=torch.float64) for size in (75, 50)))
    taught = (soft.hidden @ soft.rows.T + offsets).softmax(dim=1)
    mixed = 0.7 * torch.nn.functional.one_hot(targets, 50) + 0.3 * taught
    plain = torch.nn.functional.cross_entropy(hidden @ weight.T + offsets, mixed)
    expected = torch.autograd.grad(plain * 2, (hidden, weight))
    sliced = loss_module.output_cross_entropy(hidden, weight, targets, torch.float64, offsets, soft)
    found = torch.autograd.grad(sliced * 2, (hidden, weight))
    torch.testing.assert_close(sliced, plain, atol=1e-6, rtol=1e-6)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
