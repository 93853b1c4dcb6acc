"""Checks of tensors read from a file against the tensors that they are to replace."""

from collections.abc import Mapping

import torch
from torch import Tensor


def find_mismatch(saved: object, expected: Mapping[str, Tensor]) -> str:
    """Describe the first difference between tensors in names, shapes and types; "" if there is none."""
    if not isinstance(saved, dict) or set(saved) != set(expected):
        return "other names"
    for name, value in expected.items():
        if (found := _describe(saved[name])) != (wanted := _describe(value)):
            return f"{name} is {found}, not {wanted}"
    return ""


def require_matching(what: str, saved: object, expected: Mapping[str, Tensor]) -> None:
    """Check that saved tensors have the expected names, shapes and types, and are finite.

    Args:
        what: Subject of the error message.
        saved: What was read from a file.
        expected: Tensors with the expected names, shapes and types.

    Raises:
        ValueError: They do not.
    """
    problem = find_mismatch(saved, expected)
    if not problem and isinstance(saved, dict):
        not_finite = (name for name, value in saved.items() if not torch.isfinite(value).all())
        problem = next((f"{name} has NaN or infinity" for name in not_finite), "")
    if problem:
        raise ValueError(f"{what} does not match: {problem}")


def _describe(value: object) -> str:
    """Return a tensor's shape and type as text."""
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else "no tensor"
