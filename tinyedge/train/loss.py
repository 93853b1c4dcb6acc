"""Cross-entropy of the output projection without its (B*T, V) logits ever standing in memory whole.

At 4,096 tokens and 8,000 pieces the logits are 131 MB, and a plain loss walks over them five times. Here
each slice of rows is projected, scored, turned into its gradient and used while it is still in cache. The
result is the plain loss to rounding; bench/training measures the gain.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = 512  # of 128 ... 4096 the fastest on 2 cores (docs/log.md): 16 MB of logits at 8,000 pieces


class _OutputCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        """Shapes: hidden (N, D), weight (V, D), targets (N,). Gradients are ready when the loss is."""
        rows = hidden.shape[0]
        low_hidden, low_weight = hidden.to(dtype), weight.to(dtype)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight)
        loss = hidden.new_zeros(())
        for start in range(0, rows, ROWS):
            part = slice(start, start + ROWS)
            target = targets[part, None]
            logits = (low_hidden[part] @ low_weight.t()).float()  # (ROWS, V)
            log_total = torch.logsumexp(logits, dim=1, keepdim=True)
            loss += (log_total - logits.gather(1, target)).sum()
            gradient = logits.sub_(log_total).exp_()  # softmax
            gradient.scatter_add_(1, target, gradient.new_full(target.shape, -1.0))
            low_gradient = gradient.to(dtype)
            hidden_gradient[part] = low_gradient @ low_weight
            weight_gradient += low_gradient.t() @ low_hidden[part]
        ctx.save_for_backward(hidden_gradient.div_(rows), weight_gradient.div_(rows))
        return loss / rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * scale, weight_gradient * scale, None, None


def output_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Mean cross-entropy in nats of logits = hidden @ weight.T against targets.

    hidden (B, T, D), weight (V, D), targets (B, T) int64; `dtype` is what the matrix products run in.
    """
    loss: Tensor = _OutputCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden.flatten(0, 1), weight, targets.flatten(), dtype
    )
    return loss
