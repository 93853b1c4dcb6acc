"""Muon: momentum whose matrix updates are orthogonalized (Jordan et al., "Muon", 2024).

`torch.optim.Muon` runs its iteration in bfloat16, as the paper does. A CPU without bf16 units emulates that:
a step of the default model took 25 times as long as with this implementation in fp32 (docs/log.md). On a GPU
that computes in bfloat16, this one uses it too. Matrices of equal shape are iterated together in one batch,
and other operations are done for all matrices in one call, because a GPU call costs the same for any size.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the paper's quintic: steepest at zero, stable up to one
ITERATIONS = 5
EPSILON = 1e-7


def orthogonalize(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Move all singular values of each matrix close to one, by Newton-Schulz iteration.

    Args:
        matrices: A batch, (N, R, C).
        dtype: Number format of the iteration.

    Returns:
        The same shape and type.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.transpose(1, 2) if tall else matrices).to(dtype)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + EPSILON)
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = a * x + torch.baddbmm(gram, gram, gram, beta=b, alpha=c) @ x
    orthogonal: Tensor = x.transpose(1, 2) if tall else x
    return orthogonal.to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Muon for the matrices inside the blocks. Embeddings, norms and the output projection need AdamW.

    Args:
        groups: Parameter groups. A group's `parts` is the number of matrices stacked in each parameter, whose
            shape is (parts * R, C), such as query, key and value. Each is orthogonalized on its own.
        lr: Learning rate.
        momentum: Nesterov momentum.
        weight_decay: As in torch: each step subtracts lr x decay x weight.
        dtype: Number format of the iteration.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._dtype = dtype
        super().__init__(
            list(groups), {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": 1}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter once."""
        batches: dict[tuple[int, int], list[tuple[Tensor, Tensor, float]]] = {}
        for group in self.param_groups:
            parameters: list[Tensor] = group["params"]
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            for parameter, update in zip(
                parameters, self._nesterov_updates(parameters, group["momentum"]), strict=True
            ):
                rows, columns = parameter.shape[0] // group["parts"], parameter.shape[1]
                matrices = zip(torch.split(parameter, rows), torch.split(update, rows), strict=True)
                batches.setdefault((rows, columns), []).extend((p, u, group["lr"]) for p, u in matrices)
        for (rows, columns), members in batches.items():
            scale = max(1.0, rows / columns) ** 0.5  # the reference's: tall updates keep their size
            orthogonal = orthogonalize(torch.stack([update for _, update, _ in members]), self._dtype)
            for (part, _, rate), update in zip(members, orthogonal, strict=True):
                part.add_(update, alpha=-rate * scale)

    def _nesterov_updates(self, parameters: list[Tensor], momentum: float) -> tuple[Tensor, ...]:
        """Add each gradient to its running mean, and return the gradient mixed with that mean."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if len(gradients) < len(parameters):
            raise RuntimeError("a matrix has no gradient")
        buffers = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffers.append(state["momentum_buffer"])
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        return torch._foreach_lerp(gradients, buffers, momentum)
