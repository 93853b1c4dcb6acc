"""What a run leaves to read: `training_metrics.json`, with the guide's fields and more."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge import __version__
from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import TinyEdgeError
from tinyedge.core.runs import METRICS_FILE, SCHEMA
from tinyedge.host.memory import read_memory
from tinyedge.train.hardware import Hardware
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.state import State
from tinyedge.train.trainer import RunLimits


@dataclass(frozen=True)
class Journal:
    """Writes a run's metrics, again after every epoch. identity: which corpus and tokenizer it saw.

    Their status is "running" (killed, if nothing runs), "stopped" by a signal, "failed", or "finished"; only
    what is finished is whole.
    """

    folder: Path
    model: ModelConfig
    config: TrainConfig
    limits: RunLimits
    hardware: Hardware
    identity: dict[str, str]

    def write(self, state: State, status: str = "running", ended_by: str | None = None) -> None:
        """Writes the JSON atomically, once there is an epoch to tell of. ended_by: an Outcome's."""
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
                "hardware": self.hardware.sentence,
                **self._same_run(),
            },
            "final_metrics": {
                "best_val_loss": best["val_loss"],
                "best_epoch": best["epoch"],
                "final_train_loss": last["train_loss"],
                "final_val_loss": last["val_loss"],
                "total_epochs": state.epoch,
            },
            "val_bits_per_byte": best["val_bits_per_byte"],
            "tokens_per_second": last["tokens_per_second"],
            "elapsed_s": state.elapsed_s,
            "peak_rss_bytes": read_memory()["peak"],
            "epoch_history": state.history,
            "trace": state.trace,
            "samples": state.samples,
        }
        files.write_json(self.folder / METRICS_FILE, value)

    def is_finished(self) -> bool:
        """Whether the folder's metrics tell of this very run, at its end."""
        configuration = _read(self.folder).get("configuration")
        return (
            is_finished(self.folder)
            and isinstance(configuration, dict)
            and all(configuration.get(key) == value for key, value in self._same_run().items())
        )

    def _same_run(self) -> dict[str, Any]:
        """What two runs that end with the same weights have in common."""
        return {
            "model": self.model.to_dict(),
            "training": self.config.to_dict(),
            "max_minutes": self.limits.max_minutes,
            "patience": self.limits.patience,
            **self.identity,
        }


def is_finished(folder: Path) -> bool:
    """Whether a folder's metrics tell of a run at its end, whichever it is."""
    return _read(folder).get("status") == "finished"


def _read(folder: Path) -> dict[str, Any]:
    try:
        return files.read_json(folder / METRICS_FILE, SCHEMA, TinyEdgeError)
    except (TinyEdgeError, OSError):
        return {}
