"""The loss: cross-entropy of the output projection, computed without keeping all (B*T, V) logits in memory.

At 4,096 tokens and 8,000 pieces the logits take 131 MB, and a plain loss accesses them five times. Here each
slice of rows is projected, evaluated, turned into its gradient and used while it is still in the cache. The
result equals the plain loss up to rounding (docs/log.md has the gain). Similar: Wijmans et al., "Cut Your
Losses in Large-Vocabulary Language Models" (2024).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from tinyedge.train.methods.distillation import SoftTargets

# Rows of logits in a slice. On a CPU, 512 was the fastest of 128 ... 4096 on 2 cores (docs/log.md): 16 MB at
# 8,000 pieces. On a GPU every slice costs a dozen calls, and memory is the limit: 524 MB at 16,000 pieces.
SLICE_ROWS = {"cpu": 512, "cuda": 8192}


class _OutputCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        offsets: Tensor,
        dtype: torch.dtype,
        soft: SoftTargets | None,
    ) -> Tensor:
        """Compute the loss, and its gradients with it.

        Shapes: hidden (N, D), weight (C, D), targets (N,), offsets (C,), which are added to the logits.
        """
        count = hidden.shape[0]
        low_hidden, low_weight = hidden.to(dtype), weight.to(dtype)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight)
        loss = hidden.new_zeros(())
        hard_share = 1 - soft.share if soft else 1.0
        rows = SLICE_ROWS[hidden.device.type]
        for start in range(0, count, rows):
            part = slice(start, start + rows)
            logits = torch.addmm(offsets.to(dtype), low_hidden[part], low_weight.t()).float()  # (rows, C)
            highest = logits.amax(dim=1, keepdim=True)
            shifted = logits.sub_(highest)
            loss -= hard_share * shifted.gather(1, targets[part, None]).sum()
            taught = soft.probabilities(part, offsets) if soft else None
            if taught is not None:
                loss -= (taught * shifted).sum()
            exponentials = shifted.exp_()
            total = exponentials.sum(dim=1, keepdim=True)
            loss += total.log().sum()
            # The gradient of the logits is exponentials / total - taught - hard_share * onehot(target).
            # Neither the division nor the one-hot is applied to the (rows, C) matrix: both commute with the
            # products.
            if taught is not None:
                exponentials -= taught * total
            low = exponentials.to(dtype)
            hidden_gradient[part] = (low @ low_weight) / total
            weight_gradient += low.t() @ (hidden[part] / total).to(dtype)
        hidden_gradient -= hard_share * weight[targets]
        weight_gradient.index_add_(0, targets, hidden, alpha=-hard_share)
        ctx.save_for_backward(hidden_gradient.div_(count), weight_gradient.div_(count))
        return loss / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * scale, weight_gradient * scale, None, None, None, None


def output_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    dtype: torch.dtype = torch.float32,
    log_weights: Tensor | None = None,
    soft: SoftTargets | None = None,
) -> Tensor:
    """Compute the cross-entropy of logits = hidden @ weight.T + log_weights.

    Args:
        hidden: Hidden states, (B, T, D) or (N, D).
        weight: Output projection, (V, D).
        targets: Token ids, (B, T) or (N,) int64.
        dtype: Number format of the matrix products.
        log_weights: Added to the logits, (V,). It is zero at every target.
        soft: The teacher's share of the targets; None for none.

    Returns:
        Mean in nats, a scalar.
    """
    offsets = weight.new_zeros(len(weight)) if log_weights is None else log_weights
    loss: Tensor = _OutputCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden.reshape(-1, hidden.shape[-1]), weight, targets.flatten(), offsets, dtype, soft
    )
    return loss


def smoothing_penalty(hidden: Tensor, weight: Tensor, targets: Tensor, alternatives: Tensor) -> Tensor:
    """Compute by how much the cross-entropy grows if `alternatives` replace `targets`.

    Added to `output_cross_entropy` with a factor, it moves that share of each target to its alternatives. The
    softmax's normalizer is the same for both, so the growth is the mean difference of the logits.

    Args:
        hidden: Hidden states, (B, T, D).
        weight: Output projection, (V, D).
        targets: Token ids, (B, T).
        alternatives: Token ids, (B, T, K).

    Returns:
        Mean in nats, a scalar.
    """
    expected = F.embedding_bag(alternatives.flatten(0, 1), weight, mode="mean")
    difference = F.embedding(targets.flatten(), weight) - expected  # (B*T, D)
    return (hidden.flatten(0, 1).float() * difference).sum(dim=1).mean()
