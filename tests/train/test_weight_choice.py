"""Of the trained weights and their average, those stand for the model that predict held-out text better."""

import dataclasses
import itertools
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tests.train.test_step import SMALL, make_batch, make_train_step
from tinyedge.text.evaluate import Quality
from tinyedge.text.shards import Shards, _PassageEntry
from tinyedge.train import weight_choice
from tinyedge.train.data import Batch
from tinyedge.train.distributed import SINGLE_PROCESS, Group
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.recipe import FAST
from tinyedge.train.step import TrainStep
from tinyedge.train.validation import validate
from tinyedge.train.weight_choice import WeightChoice

CPU = torch.device("cpu")


class HeldOut(Shards):
    """Held-out passages without files: documents, or conversations."""

    def __init__(self, passages: list[torch.Tensor], template: str = "") -> None:
        self.template = template
        ends = [0, *itertools.accumulate(len(passage) for passage in passages)]
        self._entries = [
            _PassageEntry("en", start, end - start, bytes=1, unknown_bytes=0)
            for start, end in itertools.pairwise(ends)
        ]
        self.tokens = torch.cat(passages).numpy().astype("uint16")

    def open_held_out(self) -> Any:
        return self.tokens


@pytest.fixture
def train_step() -> TrainStep:
    """A step whose model learns a batch, fast: its average lags behind."""
    inputs, targets = make_batch()
    step = make_train_step()
    for number in range(16):
        step.run(Batch(inputs, targets), number, 1.0)
    return step


def choose(train_step: TrainStep, passages: list[torch.Tensor], template: str = "") -> bool:
    held_out = HeldOut(passages, template)
    return WeightChoice(held_out, CPU, SINGLE_PROCESS).choose(train_step)


def test_of_a_model_that_learns_fast_the_trained_weights_are_better(train_step: TrainStep) -> None:
    assert not choose(train_step, list(make_batch()[0]))


def test_of_weights_that_jump_the_average_is_better(train_step: TrainStep) -> None:
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in train_step.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise))
    assert choose(train_step, list(make_batch()[0]))


def test_comparing_changes_nothing(train_step: TrainStep) -> None:
    before = {name: value.detach().clone() for name, value in train_step.model.named_parameters()}
    choose(train_step, [make_batch()[0].flatten()])
    for name, value in train_step.model.named_parameters():
        if value.requires_grad:
            assert torch.equal(value, before[name]), name


def test_a_recipe_without_an_average_keeps_the_trained_weights() -> None:
    plain = dataclasses.replace(FAST, average_exponent=0.0)
    from tinyedge.train.model import TinyTransformer

    step = TrainStep(TinyTransformer(SMALL), plain, choose_hardware("cpu", "fp32"))
    assert not choose(step, [make_batch()[0].flatten()])


def test_of_a_long_text_a_part_is_compared(train_step: TrainStep, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def count(*arguments: Any) -> list[Quality]:
        found = validate(*arguments)
        seen.append(found[0].tokens)
        return found

    monkeypatch.setattr(weight_choice, "validate", count)
    monkeypatch.setattr(weight_choice, "COMPARED_TOKENS", 100)
    choose(train_step, [make_batch()[0].flatten()[:40]] * 50)  # 2,000 tokens
    assert len(seen) == 2
    assert all(100 <= tokens <= 200 for tokens in seen)


def test_without_a_document_that_fits_the_trained_weights_stay(train_step: TrainStep) -> None:
    too_long = torch.tensor([2, *range(10, 60), 2, *range(10, 60), 3])
    assert not choose(train_step, [too_long], "turns/1")


def test_another_process_than_the_main_one_reads_nothing(
    train_step: TrainStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Group, "broadcast", lambda self, value: value)
    unread = Shards.__new__(Shards)  # without token files
    choice = WeightChoice(unread, CPU, Group(rank=1, size=2))
    assert choice.choose(train_step) is False
