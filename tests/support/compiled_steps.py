"""Compiled steps after a short batch, in a process that saw the batch and in one that did not.

Prints "equal", or the names of the weights that differ. The short batch is not compiled for, so each process
compiles once. `test_step` runs this as a program.
"""

import copy
import dataclasses

import torch
from torch._dynamo.utils import counters

from tinyedge.core.config import ModelConfig
from tinyedge.train.data import Batch
from tinyedge.train.hardware import Hardware
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import FAST
from tinyedge.train.step import TrainStep

SHAPE = ModelConfig(vocab_size=1000)  # the default's blocks: in smaller ones the last bits agree by chance
CONFIG = dataclasses.replace(FAST, batch_size=16, warmup_steps=0)


def make_train_step() -> TrainStep:
    """Return a compiled training step of a new model."""
    torch.manual_seed(0)
    model = TinyTransformer(SHAPE)
    model.initialize(0.02)
    train_step = TrainStep(model, CONFIG, Hardware(torch.device("cpu"), torch.bfloat16, use_compile=True))
    assert train_step.is_compiled
    return train_step


def continue_training(train_step: TrainStep, batch: Batch) -> dict[str, torch.Tensor]:
    """Run three more steps, and return the weights."""
    for step in range(2, 5):
        train_step.run(batch, step, 1.0)
    train_step.materialize()
    return dict(train_step.model.state_dict())


def main() -> None:
    """Compare both processes."""
    tokens = torch.randint(0, 1000, (16, 129), generator=torch.Generator().manual_seed(1))
    full = Batch(tokens[:, :-1], tokens[:, 1:])
    one = make_train_step()
    one.run(full, 0, 1.0)
    one.run(Batch(full.inputs[:7], full.targets[:7]), 1, 1.0)
    with one.evaluated_weights(averaged=True):
        weights = copy.deepcopy(one.model.state_dict())
        states = one.optimizer_state_dict(), one.tables_state_dict(), one.other_state_dict()
        states = copy.deepcopy(states)
    expected = continue_training(one, full)
    torch.compiler.reset()  # as in a new process
    other = make_train_step()
    other.model.load_state_dict(weights)
    other.load_state_dicts(*states, averaged=True)
    found = continue_training(other, full)
    compiled = counters["stats"]["unique_graphs"]
    if compiled != 2:
        print(f"compiled {compiled} times")
    print(", ".join(name for name in found if not torch.equal(found[name], expected[name])) or "equal")


if __name__ == "__main__":
    main()
