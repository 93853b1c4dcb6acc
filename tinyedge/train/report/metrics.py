"""Metrics of a run: `training_metrics.json`, with the guide's fields and more.

In: the run's state. Out: the JSON file in the run folder. Does not know the model's weights.
"""

import contextlib
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyedge import __version__
from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.run_files import is_finished, read_metrics
from tinyedge.core.runs import METRICS_FILE, SCHEMA, UNKNOWN_BYTES_FIELD
from tinyedge.host.memory import read_memory
from tinyedge.train.hardware import Hardware
from tinyedge.train.limits import RunLimits
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.state import State


@dataclass(frozen=True)
class MetricsWriter:
    """Writes a run's metrics, after every epoch and at the end.

    The status is "running" (killed, if no process runs), "stopped" by a signal, "failed", or "finished". Only
    a finished run is complete.
    """

    folder: Path
    """Run folder."""

    model: ModelConfig
    """Shape of the model."""

    config: TrainConfig
    """Recipe and its parameters."""

    limits: RunLimits
    """Conditions that stop the run early."""

    hardware: Hardware
    """Device and number format."""

    identity: dict[str, str]
    """Digests of its corpus and tokenizer, by field name."""

    unknown_byte_shares: Mapping[str, float] = field(default_factory=dict)
    """Share of the held-out bytes behind UNK, by language and for all."""

    init_from: Mapping[str, Any] = field(default_factory=dict)
    """The trained model that the run goes on from, with bits per byte before and after; empty for others."""

    def write(self, state: State, status: str = "running", ended_by: str | None = None) -> None:
        """Write the file atomically. Nothing is written before the first epoch is finished.

        Args:
            state: The run's state.
            status: One of the four above.
            ended_by: As in `Outcome`.
        """
        best = state.best
        if best is None:
            return
        last = state.history[-1]
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        value: dict[str, Any] = {
            "schema": SCHEMA,
            "run_id": state.run_id,
            "tinyedge": __version__,
            "status": status,
            "ended_by": ended_by,
            "start_timestamp": state.start_timestamp,
            "end_timestamp": None if status == "running" else now,
            "configuration": {
                "vocab_size": self.model.vocab_size,
                "batch_size": self.config.batch_size,
                "learning_rate": self.config.learning_rate,
                "num_epochs": self.config.epochs,
                "max_seq_length": self.model.max_seq_length,
                "hardware": self.hardware.description,
                **self._run_identity(),
            },
            "final_metrics": {
                "best_val_loss": best["val_loss"],
                "best_epoch": best["epoch"],
                "final_train_loss": last["train_loss"],
                "final_val_loss": last["val_loss"],
                "total_epochs": state.epoch,
            },
            "val_bits_per_byte": best["val_bits_per_byte"],
            UNKNOWN_BYTES_FIELD: dict(self.unknown_byte_shares),
            **({"init_from": self.init_from} if self.init_from else {}),
            "tokens_per_second": last["tokens_per_second"],
            "elapsed_s": state.elapsed_s,
            "peak_rss_bytes": read_memory()["peak"],
            "epoch_history": state.history,
            "trace": state.trace,
            "samples": state.samples,
        }
        files.write_json(self.folder / METRICS_FILE, value)

    def mark_failed(self, state: State) -> None:
        """Write the file with the status "failed", even on a full disk."""
        try:
            self.write(state, "failed")
        except OSError:  # there is no space for a second file: change the status in the existing one
            with contextlib.suppress(OSError), (self.folder / METRICS_FILE).open("r+b") as file:
                running, failed = b'"status": "running",', b'"status": "failed", '
                place = file.read().find(running)
                if place >= 0:
                    file.seek(place)
                    file.write(failed)

    def is_finished(self) -> bool:
        """Whether the folder's metrics are those of this run, finished."""
        return is_finished(self.folder) and self.read_model() == self.model.to_dict()

    def read_model(self) -> object:
        """Return the shape that the folder's metrics record for this run; None if they are of another run."""
        configuration = read_metrics(self.folder).get("configuration")
        if not isinstance(configuration, dict):
            return None
        others = {key: value for key, value in self._run_identity().items() if key != "model"}
        is_same = all(configuration.get(key) == value for key, value in others.items())
        return configuration.get("model") if is_same else None

    def _run_identity(self) -> dict[str, Any]:
        """Return what is equal in runs that end with equal weights."""
        return {
            "model": self.model.to_dict(),
            "training": self.config.to_dict(),
            "max_minutes": self.limits.max_minutes,
            "patience": self.limits.patience,
            **self.identity,
        }
