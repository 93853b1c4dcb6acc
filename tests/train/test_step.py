"""The training step: compiled or not, with sampled or full softmax, with composed or plain tables."""

import copy
import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tinyedge.core.config import ModelConfig
from tinyedge.train.data import Batch
from tinyedge.train.hardware import Hardware, choose_hardware
from tinyedge.train.methods.features import Features
from tinyedge.train.methods.sampled_softmax import CandidateSampler
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import FAST
from tinyedge.train.step import TrainStep

SMALL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)
CONFIG = dataclasses.replace(FAST, batch_size=8, warmup_steps=0)
FEATURES = Features([[piece % 7, 7 + piece % 5] if piece > 3 else [] for piece in range(1000)], 12)
EAGER = choose_hardware("cpu", "fp32")


def make_train_step(
    hardware: Hardware = EAGER, sampled: int = 0, shared: bool = True, rows: int | None = None
) -> TrainStep:
    torch.manual_seed(0)
    model = TinyTransformer(SMALL)
    model.initialize(0.02)
    sampler = CandidateSampler(torch.arange(1000), sampled) if sampled else None
    features = FEATURES if shared else None
    return TrainStep(model, CONFIG, hardware, sampler=sampler, features=features, rows=rows)


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, 1000, (8, 33), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


@pytest.mark.parametrize("sampled", [0, 100])
@pytest.mark.parametrize("shared", [False, True])
def test_a_batch_is_memorized(sampled: int, shared: bool) -> None:
    train_step = make_train_step(sampled=sampled, shared=shared)
    inputs, targets = make_batch()
    losses = [train_step.run(Batch(inputs, targets), step, 1.0)[0] for step in range(40)]
    assert losses[-1] < 0.6 * losses[0]
    train_step.materialize()
    loss = torch.nn.functional.cross_entropy(train_step.model(inputs).flatten(0, 1), targets.flatten())
    assert loss.item() < 0.65 * losses[0]  # the model itself contains what was learned


def test_low_learning_rates_use_the_full_softmax() -> None:
    inputs, targets = make_batch()
    whole = make_train_step().run(Batch(inputs, targets), 0, 0.1)[0]
    assert make_train_step(sampled=100).run(Batch(inputs, targets), 0, 0.1)[0] == pytest.approx(
        whole, abs=1e-5
    )
    assert make_train_step(sampled=100).run(Batch(inputs, targets), 0, 1.0)[0] != pytest.approx(
        whole, abs=1e-5
    )


def test_the_state_is_restored_to_the_bit() -> None:
    inputs, targets = make_batch()
    one = make_train_step(sampled=100)
    for step in range(3):
        one.run(Batch(inputs, targets), step, 1.0)
    other = make_train_step(sampled=100)
    with one.evaluated_weights(averaged=True):
        other.model.load_state_dict(one.model.state_dict())
        states = one.optimizer_state_dict(), one.tables_state_dict(), one.other_state_dict()
        other.load_state_dicts(*copy.deepcopy(states), averaged=True)
    found: list[dict[str, torch.Tensor]] = []
    for train_step in (one, other):
        for step in range(3, 20):
            train_step.run(Batch(inputs, targets), step, 1.0)
        with train_step.evaluated_weights(averaged=True):
            found.append(copy.deepcopy(dict(train_step.model.state_dict())))
        train_step.materialize()
        found.append(copy.deepcopy(dict(train_step.model.state_dict())))
    for average, trained in ((0, 1), (2, 3)):
        assert not torch.equal(found[average]["output.weight"], found[trained]["output.weight"])
    for name in found[0]:
        assert torch.equal(found[0][name], found[2][name]), name
        assert torch.equal(found[1][name], found[3][name]), name


def test_the_evaluated_weights_are_an_average_and_the_trained_ones_come_back() -> None:
    inputs, targets = make_batch()
    train_step = make_train_step()
    for step in range(20):
        train_step.run(Batch(inputs, targets), step, 1.0)
    train_step.materialize()
    before = copy.deepcopy(dict(train_step.model.state_dict()))
    with train_step.evaluated_weights(averaged=True):
        average = copy.deepcopy(dict(train_step.model.state_dict()))
    train_step.materialize()
    for name, weight in train_step.model.state_dict().items():
        assert torch.equal(weight, before[name]), name
        assert not torch.equal(weight, average[name]), name


def test_without_an_average_the_trained_weights_are_evaluated() -> None:
    torch.manual_seed(0)
    plain = dataclasses.replace(CONFIG, average_exponent=0.0)
    train_step = TrainStep(TinyTransformer(SMALL), plain, choose_hardware("cpu", "fp32"))
    train_step.run(Batch(*make_batch()), 0, 1.0)
    before = copy.deepcopy(dict(train_step.model.state_dict()))
    with train_step.evaluated_weights(averaged=True):
        assert train_step.other_state_dict() == {}
        for name, weight in train_step.model.state_dict().items():
            assert torch.equal(weight, before[name]), name


def test_features_that_do_not_exist_are_refused() -> None:
    train_step = make_train_step()
    train_step.run(Batch(*make_batch()), 0, 1.0)
    for wrong in (-1, 12):
        tables = copy.deepcopy(train_step.tables_state_dict())
        tables["composed.index"][5, 0] = wrong
        with pytest.raises(ValueError, match="features that do not exist"):
            make_train_step().load_state_dicts(
                train_step.optimizer_state_dict(), tables, train_step.other_state_dict(), averaged=False
            )


@pytest.mark.parametrize("sampled", [0, 100])
def test_smoothing_moves_a_share_of_targets_to_alternatives(sampled: int) -> None:
    """If all alternatives are one piece, the loss is that of targets with a share on that piece."""
    inputs, targets = make_batch()
    alternatives = torch.full((*targets.shape, 3), 77)
    share = CONFIG.smoothing * 0.5
    train_step = make_train_step(sampled=sampled)
    train_step.materialize()
    scores = train_step.model(inputs).log_softmax(dim=-1)
    wanted = -(1 - share) * scores.gather(2, targets[..., None]).mean() - share * scores[..., 77].mean()
    found = train_step.run(Batch(inputs, targets, alternatives), 0, 0.5)[0]
    assert found == pytest.approx(wanted.item(), abs=0.05 if sampled else 1e-4)


def test_a_failing_compiler_does_not_change_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object, **options: object) -> object:
        def fail(*arguments: object) -> None:
            raise RuntimeError("no compiler")

        return fail

    inputs, targets = make_batch()
    expected = make_train_step().run(Batch(inputs, targets), 0, 1.0)
    monkeypatch.setattr(torch, "compile", broken)
    train_step = make_train_step(dataclasses.replace(EAGER, use_compile=True))
    assert not train_step.is_compiled
    assert train_step.run(Batch(inputs, targets), 0, 1.0) == expected


def test_compiled_code_is_used_for_full_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def recording(function: Callable[[torch.Tensor], torch.Tensor], **options: object) -> object:
        def call(rows: torch.Tensor) -> torch.Tensor:
            calls.append((len(rows), rows.requires_grad))
            return function(rows)

        return call

    monkeypatch.setattr(torch, "compile", recording)
    train_step = make_train_step(dataclasses.replace(EAGER, use_compile=True))
    inputs, targets = make_batch()
    rows = len(inputs)
    assert rows == CONFIG.batch_size
    train_step.run(Batch(inputs, targets), 0, 1.0)
    train_step.run(Batch(inputs[1:], targets[1:]), 1, 1.0)
    assert train_step.is_compiled
    assert calls == [(rows, True), (rows, True)]  # once to compile, once in a step
    calls.clear()
    make_train_step(dataclasses.replace(EAGER, use_compile=True), rows=rows - 3)  # a text with fewer windows
    assert calls == [(rows - 3, True)]


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="needs a C++ compiler")
def test_compiled_weights_do_not_depend_on_earlier_batches() -> None:
    """A process started after an epoch's short batch computes the same bits as one that saw the batch.

    It runs in a separate process: what other tests compiled, and warnings as errors, would interfere.
    """
    script = Path(__file__).parents[1] / "support" / "compiled_steps.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "equal\n"
