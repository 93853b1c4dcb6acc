"""An average of the weights over a run, in which a step counts more the later it is.

    average = sum over steps t of t^exponent x weights after step t, divided by the sum of t^exponent

The weights of single steps jump around a good point; their average is closer to it. The weight t^exponent
needs neither the length of the run nor a setting that fits it: the average always covers about the last
1 / (exponent + 1) of the steps so far (Karras et al., "Analyzing and improving the training dynamics of
diffusion models", 2024, section 3.1).
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from tinyedge.train.storage.tensor_checks import require_matching

STEPS = 8  # between two updates; what happens in between is much shorter than the average


class WeightAverage:
    """Keeps the average of some parameters, which training goes on changing.

    Args:
        parameters: Parameters by name.
        exponent: As above.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], exponent: float) -> None:
        self._parameters = dict(parameters)
        self._exponent = exponent
        # The average; while it is applied, the trained weights.
        self._others = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Add the current weights to the average.

        Args:
            steps: Steps of the run so far, this one included.
        """
        if steps > STEPS and steps % STEPS:
            return
        kept = max(0.0, 1 - STEPS / steps) ** (self._exponent + 1)
        torch._foreach_lerp_(list(self._others.values()), list(self._parameters.values()), 1 - kept)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the place of the trained weights, for the time of a `with`."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def other_state_dict(self) -> dict[str, Tensor]:
        """Return the average by name; while it is applied, the trained weights."""
        return dict(self._others)

    def restore(self, others: object, is_applied: bool) -> None:
        """Restore a state whose parameters are loaded already.

        Args:
            others: What `other_state_dict` returned.
            is_applied: Whether the average was applied then. Afterwards it is not.

        Raises:
            ValueError: It does not match these parameters.
        """
        require_matching("its other weights", others, self._others)
        for name, value in cast(dict[str, Tensor], others).items():
            self._others[name].copy_(value)
        if is_applied:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            trained = parameter.detach().clone()
            parameter.copy_(self._others[name])
            self._others[name].copy_(trained)
