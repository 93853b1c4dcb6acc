"""Which optimizer moves which weight, and at what rate."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tinyedge.train.methods.muon import Muon
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.storage.tensor_checks import require_like

NEVER_DECAYED = "position_embedding.weight"  # where tokens stand is learned once, not unlearned between texts
QKV_PARTS = 3  # query, key and value share a parameter but are three matrices


class Optimizers:
    """AdamW on every weight, or Muon on the blocks' matrices and AdamW on the rest.

    Rates are set before each step from the recipe's pure schedule, so there is no scheduler state. dtype: of
    Muon's iteration.
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
        decayed = [p for name, p in others if p.dim() == 2 and not name.endswith(NEVER_DECAYED)]
        free = [p for name, p in others if p.dim() < 2 or name.endswith(NEVER_DECAYED)]
        groups: Iterable[dict[str, Any]] = (
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": free, "weight_decay": 0.0},
        )
        adamw = torch.optim.AdamW(
            groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True
        )
        self._members: dict[str, tuple[torch.optim.Optimizer, float]] = {
            "adamw": (adamw, config.learning_rate)
        }
        if config.matrix_learning_rate:
            rate = config.matrix_learning_rate
            stacks = ({"params": params, "parts": parts} for parts, params in matrices.items())
            muon = Muon(stacks, lr=rate, weight_decay=config.matrix_weight_decay, dtype=dtype)
            self._members["muon"] = muon, rate

    def step(self, rate_factor: float) -> float:
        """Moves the weights at `rate_factor` of the peak rates; returns AdamW's rate."""
        for optimizer, rate in self._members.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * rate_factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return self._config.learning_rate * rate_factor

    def state_dict(self) -> dict[str, Any]:
        """The state of each, by name."""
        return {name: optimizer.state_dict() for name, (optimizer, _) in self._members.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Any) -> None:
        """Restores what `state_dict` gave; groups and rates stay the recipe's.

        Every tensor is copied into memory like its parameter's: the fused step writes to where a shape says
        and asks no more. Raises KeyError, TypeError or ValueError unless each parameter has its own state.
        """
        for name, (optimizer, _) in self._members.items():
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            saved = state[name]["state"]
            if not isinstance(saved, dict) or set(saved) != set(range(len(parameters))):
                raise ValueError(f"its {name} has other parameters")
            for number, parameter in enumerate(parameters):
                like = _state_like(name, parameter)
                require_like(f"its {name} state of parameter {number}", saved[number], like)
                if name == "adamw" and (saved[number]["exp_avg_sq"] < 0).any():
                    raise ValueError(f"its {name} state of parameter {number} has a square below zero")
                optimizer.state[parameter] = {
                    key: torch.empty_like(value).copy_(saved[number][key]) for key, value in like.items()
                }


def _state_like(name: str, parameter: Tensor) -> dict[str, Tensor]:
    """What an optimizer keeps of a parameter, by name, each beside a tensor of its shape and type."""
    if name == "muon":
        return {"momentum_buffer": parameter}
    return {"step": parameter.new_empty(()), "exp_avg": parameter, "exp_avg_sq": parameter}
