"""What a run leaves to read: `training_metrics.json`, with the guide's fields and more, and the curve."""

import datetime
import uuid
from pathlib import Path
from typing import Any

from tinyedge import __version__, files
from tinyedge.config import ModelConfig
from tinyedge.memory import read_memory
from tinyedge.train.hardware import Hardware
from tinyedge.train.recipe import TrainConfig
from tinyedge.train.trainer import Outcome

SCHEMA = "tinyedge.training/1"
METRICS_FILE, CURVE_FILE = "training_metrics.json", "training_curve.png"


def write_metrics(
    folder: Path,
    model: ModelConfig,
    config: TrainConfig,
    outcome: Outcome,
    hardware: Hardware,
    started: datetime.datetime,
    identity: dict[str, str],
) -> None:
    """Writes the JSON atomically. `identity` says which corpus and tokenizer the run saw."""
    state = outcome.state
    last = state.history[-1]
    best = min(state.history, key=lambda record: record["val_loss"])
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": str(uuid.uuid4()),
        "tinyedge": __version__,
        "start_timestamp": started.isoformat(timespec="seconds"),
        "end_timestamp": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "configuration": {
            "vocab_size": model.vocab_size,
            "batch_size": config.batch_size,
            "learning_rate": config.learning_rate,
            "num_epochs": config.epochs,
            "max_seq_length": model.max_seq_length,
            "model": model.to_dict(),
            "training": config.to_dict(),
            "hardware": hardware.sentence,
            **identity,
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
        "stopped_by_max_minutes": outcome.timed_out,
        "epoch_history": state.history,
        "samples": state.samples,
    }
    files.write_json(folder / METRICS_FILE, value)


def draw_curve(folder: Path, history: list[dict[str, Any]]) -> None:
    """Losses and held-out bits per byte over the epochs, as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    loss, bits = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in history]
    loss.plot(epochs, [record["train_loss"] for record in history], marker="o", label="training")
    loss.plot(epochs, [record["val_loss"] for record in history], marker="o", label="held out")
    loss.set_ylabel("loss, nats per token")
    for name in history[-1]["val_bits_per_byte"]:
        bits.plot(
            epochs, [record["val_bits_per_byte"].get(name) for record in history], marker="o", label=name
        )
    bits.set_ylabel("held out, bits per byte")
    for axes in (loss, bits):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    with files.atomic_writer(folder / CURVE_FILE) as file:
        figure.savefig(file, format="png", dpi=110)
