"""Tensors out of a file, beside those that they are to become."""

from collections.abc import Mapping

import torch
from torch import Tensor


def difference(saved: object, mine: Mapping[str, Tensor]) -> str:
    """The first way in which saved tensors are not of these names, shapes and types, or ""."""
    if not isinstance(saved, dict) or set(saved) != set(mine):
        return "other names"
    for name, value in mine.items():
        if (found := _kind(saved[name])) != (kind := _kind(value)):
            return f"{name} is {found}, not {kind}"
    return ""


def require_like(what: str, saved: object, mine: Mapping[str, Tensor]) -> None:
    """Raises ValueError unless saved tensors are of these names, shapes and types, and finite."""
    odd = difference(saved, mine)
    if not odd and isinstance(saved, dict):
        odd = next((f"{k} has NaN or infinity" for k, v in saved.items() if not torch.isfinite(v).all()), "")
    if odd:
        raise ValueError(f"{what} does not fit: {odd}")


def _kind(value: object) -> str:
    """A tensor's shape and type, in words."""
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else "no tensor"
