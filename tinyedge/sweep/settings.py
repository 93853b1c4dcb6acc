"""Settings of a sweep. Does not know torch or Optuna, because the command reads it for its help."""

from dataclasses import dataclass

from tinyedge.core.settings import check_settings, setting
from tinyedge.train.recipe import TRAIN_RANGES

SEARCHES = ("tpe", "grid")
MAX_TRIALS = 1_000_000


@dataclass(frozen=True)
class SweepSettings:
    """How a sweep searches.

    Raises:
        UsageError: A value is outside its range; the message names the parameter.
    """

    search: str = setting(
        "tpe",
        choices=SEARCHES,
        section="Search",
        help="tpe learns from earlier trials, grid runs every combination.",
    )
    """Search method: "tpe" (Tree-structured Parzen Estimator) or "grid"."""
    trials: int = setting(
        20,
        low=1,
        high=MAX_TRIALS,
        section="Search",
        help="Total number of trials; a grid runs all of its combinations.",
    )
    """Total number of trials; a grid runs all of its combinations."""
    epochs: int = setting(
        10,
        low=TRAIN_RANGES["epochs"][0],
        high=TRAIN_RANGES["epochs"][1],
        section="Search",
        help="Passes over the training text in each trial.",
    )
    """Passes over the training text in each trial."""
    seed: int = setting(
        0,
        low=TRAIN_RANGES["seed"][0],
        high=TRAIN_RANGES["seed"][1],
        section="Search",
        help="Random seed of the search.",
    )
    """Random seed of the search."""

    def __post_init__(self) -> None:
        check_settings(self)
