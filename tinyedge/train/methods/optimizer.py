"""The optimizers of a run: which one updates which weight, and at what learning rate.

AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019) and, for the blocks' matrices,
`muon`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tinyedge.train.methods.muon import Muon
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.storage.tensor_checks import require_matching

NEVER_DECAYED = (
    "position_embedding.weight"  # all texts use the same positions, so decay would only unlearn them
)
QKV_PARTS = 3  # query, key and value share a parameter but are three matrices


def group_by_decay(
    parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float
) -> list[dict[str, Any]]:
    """Return the two parameter groups of AdamW: matrices decay, norms and positions do not.

    Args:
        parameters: Names and parameters, as from `model.named_parameters()`.
        weight_decay: Weight decay of the first group.
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in parameters:
        is_decayed = parameter.dim() == 2 and not name.endswith(NEVER_DECAYED)
        (decayed if is_decayed else others).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


class Optimizers:
    """AdamW on every weight, or Muon on the blocks' matrices and AdamW on the rest.

    Learning rates are set before each step from the recipe's schedule, so there is no scheduler state.

    Args:
        objective: Module with all trained parameters.
        config: Recipe and its parameters.
        dtype: Number format of Muon's iteration.
    """

    def __init__(self, objective: nn.Module, config: TrainConfig, dtype: torch.dtype = torch.float32) -> None:
        self._config = config
        matrices: dict[int, list[nn.Parameter]] = {1: [], QKV_PARTS: []}
        others: list[tuple[str, nn.Parameter]] = []
        for name, parameter in objective.named_parameters():
            if not parameter.requires_grad:
                continue
            if config.matrix_learning_rate and "blocks." in name and parameter.dim() == 2:
                matrices[QKV_PARTS if name.endswith("qkv.weight") else 1].append(parameter)
            else:
                others.append((name, parameter))
        adamw = torch.optim.AdamW(
            group_by_decay(others, config.weight_decay),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=True,
        )
        self._members: dict[str, tuple[torch.optim.Optimizer, float]] = {
            "adamw": (adamw, config.learning_rate)
        }
        if config.matrix_learning_rate:
            rate = config.matrix_learning_rate
            stacks = ({"params": params, "parts": parts} for parts, params in matrices.items())
            muon = Muon(stacks, lr=rate, weight_decay=config.matrix_weight_decay, dtype=dtype)
            self._members["muon"] = muon, rate
        for optimizer, _ in self._members.values():
            for group in optimizer.param_groups:
                group["peak_decay"] = group["weight_decay"]

    def step(self, rate_factor: float) -> float:
        """Update the weights and clear the gradients.

        Args:
            rate_factor: Learning rates as a share of their peaks; weight decay too, if it is scheduled.

        Returns:
            AdamW's learning rate.
        """
        for optimizer, rate in self._members.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_factor
                if self._config.scheduled_decay:
                    group["weight_decay"] = group["peak_decay"] * rate_factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return self._config.learning_rate * rate_factor

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each optimizer, by name."""
        return {name: optimizer.state_dict() for name, (optimizer, _) in self._members.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Any) -> None:
        """Restore the optimizers' state. Groups and learning rates stay those of the recipe.

        Every tensor is copied into memory with the same layout as its parameter: AdamW's fused step computes
        addresses from the shape and does not check the size of the memory.

        Args:
            state: What `state_dict` returned.

        Raises:
            KeyError, TypeError, ValueError: A parameter has no state, or one of another shape or type.
        """
        for name, (optimizer, _) in self._members.items():
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            saved = state[name]["state"]
            if not isinstance(saved, dict) or set(saved) != set(range(len(parameters))):
                raise ValueError(f"its {name} has other parameters")
            for number, parameter in enumerate(parameters):
                expected = _expected_state(name, parameter)
                require_matching(f"its {name} state of parameter {number}", saved[number], expected)
                if name == "adamw" and (saved[number]["exp_avg_sq"] < 0).any():
                    raise ValueError(f"its {name} state of parameter {number} has a negative square")
                optimizer.state[parameter] = {
                    key: torch.empty_like(value).copy_(saved[number][key]) for key, value in expected.items()
                }


def _expected_state(name: str, parameter: Tensor) -> dict[str, Tensor]:
    """Return an optimizer's state tensors of a parameter by name, as tensors of their shape and type."""
    if name == "muon":
        return {"momentum_buffer": parameter}
    return {"step": parameter.new_empty(()), "exp_avg": parameter, "exp_avg_sq": parameter}
