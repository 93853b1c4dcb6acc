"""Compiled steps after a short batch, by who saw it and by who did not: prints "equal", or what is not.

The short batch is not compiled for, so that each has compiled once.

A program: `test_step` runs it.
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
from tinyedge.train.step import Learner

SHAPE = ModelConfig(vocab_size=1000)  # the default's blocks: in smaller ones the last bits agree by luck
CONFIG = dataclasses.replace(FAST, batch_size=16, warmup_steps=0)


def begin() -> Learner:
    torch.manual_seed(0)
    model = TinyTransformer(SHAPE)
    model.initialize(0.02)
    learner = Learner(model, CONFIG, Hardware(torch.device("cpu"), torch.bfloat16, compiles=True))
    assert learner.compiled
    return learner


def go_on(learner: Learner, batch: Batch) -> dict[str, torch.Tensor]:
    for step in range(2, 5):
        learner.learn(batch, step, 1.0)
    learner.fold()
    return dict(learner.model.state_dict())


def main() -> None:
    tokens = torch.randint(0, 1000, (16, 129), generator=torch.Generator().manual_seed(1))
    whole = Batch(tokens[:, :-1], tokens[:, 1:])
    one = begin()
    one.learn(whole, 0, 1.0)
    one.learn(Batch(whole.inputs[:7], whole.targets[:7]), 1, 1.0)
    one.fold()
    weights = copy.deepcopy(one.model.state_dict())
    states = copy.deepcopy((one.optimizer_state_dict(), one.tables_state_dict()))
    expected = go_on(one, whole)
    torch.compiler.reset()  # as in a new process
    other = begin()
    other.model.load_state_dict(weights)
    other.load_state_dicts(*states)
    found = go_on(other, whole)
    compiled = counters["stats"]["unique_graphs"]
    if compiled != 2:
        print(f"compiled {compiled} times")
    print(", ".join(name for name in found if not torch.equal(found[name], expected[name])) or "equal")


if __name__ == "__main__":
    main()
