"""Tensors out of a file, beside those that they are to become."""

from collections.abc import Mapping

import torch
from torch import Tensor


def difference(saved: object, mine: Mapping[str, Tensor]) -> str:
    """The first way in which saved tensors are not of these names, shapes and types, or finite; else ""."""
    if not isinstance(saved, dict) or set(saved) != set(mine):
        return "other names"
    for name, value in mine.items():
        if (found := _kind(saved[name])) != (kind := _kind(value)):
            return f"{name} is {found}, not {kind}"
        if not torch.isfinite(saved[name]).all():
            return f"{name} has NaN or infinity"
    return ""


def _kind(value: object) -> str:
    """A tensor's shape and type, in words."""
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else "no tensor"
