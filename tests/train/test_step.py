"""A step does what it says: compiled or not, sampled or whole, with tables that share parts or without."""

import copy
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.config import ModelConfig  # noqa: E402
from tinyedge.train.data import Batch  # noqa: E402
from tinyedge.train.hardware import Hardware, choose_hardware  # noqa: E402
from tinyedge.train.methods.features import Features  # noqa: E402
from tinyedge.train.methods.sampled_softmax import CandidateSampler  # noqa: E402
from tinyedge.train.model import TinyTransformer  # noqa: E402
from tinyedge.train.recipe import FAST  # noqa: E402
from tinyedge.train.step import Learner  # noqa: E402

SMALL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)
CONFIG = dataclasses.replace(FAST, batch_size=8, warmup_steps=0)
FEATURES = Features([[piece % 7, 7 + piece % 5] if piece > 3 else [] for piece in range(1000)], 12)
EAGER = choose_hardware("cpu", "fp32")


def learner(
    hardware: Hardware = EAGER, sampled: int = 0, shared: bool = True, rows: int | None = None
) -> Learner:
    torch.manual_seed(0)
    model = TinyTransformer(SMALL)
    model.initialize(0.02)
    sampler = CandidateSampler(torch.arange(1000), sampled) if sampled else None
    features = FEATURES if shared else None
    return Learner(model, CONFIG, hardware, sampler=sampler, features=features, rows=rows)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(0, 1000, (8, 33), generator=torch.Generator().manual_seed(1))
    return tokens[:, :-1], tokens[:, 1:]


@pytest.mark.parametrize("sampled", [0, 100])
@pytest.mark.parametrize("shared", [False, True])
def test_learns_a_batch_by_heart(sampled: int, shared: bool) -> None:
    student = learner(sampled=sampled, shared=shared)
    inputs, targets = batch()
    losses = [student.learn(Batch(inputs, targets), step, 1.0)[0] for step in range(40)]
    assert losses[-1] < 0.6 * losses[0]
    student.fold()
    loss = torch.nn.functional.cross_entropy(student.model(inputs).flatten(0, 1), targets.flatten())
    assert loss.item() < 0.65 * losses[0]  # what was learned is in the model itself


def test_low_rates_compute_the_whole_softmax() -> None:
    inputs, targets = batch()
    whole = learner().learn(Batch(inputs, targets), 0, 0.1)[0]
    assert learner(sampled=100).learn(Batch(inputs, targets), 0, 0.1)[0] == pytest.approx(whole, abs=1e-5)
    assert learner(sampled=100).learn(Batch(inputs, targets), 0, 1.0)[0] != pytest.approx(whole, abs=1e-5)


def test_state_restores_to_the_bit() -> None:
    inputs, targets = batch()
    one = learner(sampled=100)
    for step in range(3):
        one.learn(Batch(inputs, targets), step, 1.0)
    one.fold()
    other = learner(sampled=100)
    other.model.load_state_dict(one.model.state_dict())
    other.load_state_dicts(*copy.deepcopy((one.optimizer_state_dict(), one.tables_state_dict())))
    for student in (one, other):
        student.learn(Batch(inputs, targets), 3, 1.0)
        student.fold()
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, other.model.state_dict()[name]), name


def test_features_that_are_not_there_are_refused() -> None:
    student = learner()
    student.learn(Batch(*batch()), 0, 1.0)
    for wrong in (-1, 12):
        tables = copy.deepcopy(student.tables_state_dict())
        tables["composed.index"][5, 0] = wrong
        with pytest.raises(ValueError, match="features that are not there"):
            learner().load_state_dicts(student.optimizer_state_dict(), tables)


@pytest.mark.parametrize("sampled", [0, 100])
def test_smoothing_gives_a_share_to_others(sampled: int) -> None:
    """Where all others are one piece, the loss is that of targets with a share of the peak on that piece."""
    inputs, targets = batch()
    others = torch.full((*targets.shape, 3), 77)
    share = CONFIG.smoothing * 0.5
    student = learner(sampled=sampled)
    student.fold()
    scores = student.model(inputs).log_softmax(dim=-1)
    wanted = -(1 - share) * scores.gather(2, targets[..., None]).mean() - share * scores[..., 77].mean()
    found = student.learn(Batch(inputs, targets, others), 0, 0.5)[0]
    assert found == pytest.approx(wanted.item(), abs=0.05 if sampled else 1e-4)


def test_a_compiler_that_fails_leaves_the_step_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object, **options: object) -> object:
        def fail(*arguments: object) -> None:
            raise RuntimeError("no compiler")

        return fail

    inputs, targets = batch()
    expected = learner().learn(Batch(inputs, targets), 0, 1.0)
    monkeypatch.setattr(torch, "compile", broken)
    student = learner(dataclasses.replace(EAGER, compiles=True))
    assert not student.compiled
    assert student.learn(Batch(inputs, targets), 0, 1.0) == expected


def test_a_compiler_that_works_is_used_for_whole_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def recording(function: object, **options: object) -> object:
        def call(rows: torch.Tensor) -> torch.Tensor:
            calls.append((len(rows), rows.requires_grad))
            return function(rows)  # type: ignore[operator, no-any-return]

        return call

    monkeypatch.setattr(torch, "compile", recording)
    student = learner(dataclasses.replace(EAGER, compiles=True))
    inputs, targets = batch()
    rows = len(inputs)
    assert rows == CONFIG.batch_size
    student.learn(Batch(inputs, targets), 0, 1.0)
    student.learn(Batch(inputs[1:], targets[1:]), 1, 1.0)
    assert student.compiled
    assert calls == [(rows, True), (rows, True)]  # once to try, once to learn
    calls.clear()
    learner(dataclasses.replace(EAGER, compiles=True), rows=rows - 3)  # of a text that has no more
    assert calls == [(rows - 3, True)]


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="needs a C++ compiler")
def test_compiled_weights_do_not_depend_on_what_a_process_saw() -> None:
    """A process that begins after an epoch's short batch computes what one that saw it does, to the bit.

    In a process of its own: what others compiled, and warnings that are errors here, change what it compiles.
    """
    script = Path(__file__).parents[1] / "support" / "compiled_steps.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "equal\n"
