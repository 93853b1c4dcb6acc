"""Training on a GPU: the same model as on a CPU, reproducible to the bit, resumable."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.recording_reporter import RecordingReporter

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
if not torch.cuda.is_available():
    pytest.skip("no GPU here", allow_module_level=True)

import torch.distributed as dist  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from tinyedge.core.config import ModelConfig  # noqa: E402
from tinyedge.text.shards import Shards  # noqa: E402
from tinyedge.text.tokenizer import Tokenizer  # noqa: E402
from tinyedge.train.hardware import choose_hardware  # noqa: E402
from tinyedge.train.limits import RunLimits  # noqa: E402
from tinyedge.train.recipe import resolve  # noqa: E402
from tinyedge.train.report.advice import out_of_memory_error  # noqa: E402
from tinyedge.train.report.reporter import Progress  # noqa: E402
from tinyedge.train.storage import checkpoint  # noqa: E402
from tinyedge.train.trainer import Trainer  # noqa: E402

# The compiler inspects its inputs in a way that torch warns of, and suggests a lower precision.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores"),
]

SHAPE = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=2, dim_feedforward=128, max_seq_length=64
)
Make = Callable[..., tuple[Trainer, RecordingReporter]]


@pytest.fixture
def make(shards: Shards, tokenizer: Tokenizer, tmp_path: Path) -> Make:
    def make_trainer(
        name: str, device: str = "cuda", precision: str = "auto", **flags: object
    ) -> tuple[Trainer, RecordingReporter]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        config = resolve("fast", {"epochs": 3, "batch_size": 16, "sampled_pieces": 200, **flags})
        reporter = RecordingReporter()
        hardware = choose_hardware(device, precision)
        trainer = Trainer(SHAPE, config, shards, tokenizer, hardware, folder, reporter)
        assert trainer._train_step.is_compiled == hardware.use_compile
        return trainer, reporter

    return make_trainer


def weights(trainer: Trainer) -> bytes:
    return b"".join(value.cpu().numpy().tobytes() for value in trainer.model.state_dict().values())


def losses(trainer: Trainer, reporter: RecordingReporter) -> list[float]:
    seen: list[float] = []
    reporter.on_step = lambda progress: seen.append(trainer.state.loss)
    trainer.run(RunLimits())
    return seen


def test_a_gpu_is_used_compiled_and_in_bf16() -> None:
    hardware = choose_hardware("auto", "auto")
    assert hardware.device.type == "cuda"
    units = torch.cuda.is_bf16_supported(including_emulation=False)
    assert hardware.precision == ("bf16" if units else "fp32")
    assert hardware.use_compile == (importlib.util.find_spec("triton") is not None)
    assert torch.cuda.get_device_name() in hardware.description


def test_a_gpu_learns_what_a_cpu_learns(make: Make) -> None:
    on_cpu = losses(*make("cpu", "cpu", "fp32"))
    on_gpu = losses(*make("gpu", "cuda", "fp32"))
    assert on_gpu[:3] == pytest.approx(on_cpu[:3], abs=1e-4)
    assert on_gpu == pytest.approx(on_cpu, abs=0.02)
    in_bf16 = losses(*make("bf16"))
    assert in_bf16 == pytest.approx(on_cpu, abs=0.05)


@pytest.mark.parametrize(
    ("precision", "flags"), [("fp32", {}), ("bf16", {}), ("bf16", {"grad_accumulation": 3, "clip_norm": 1.0})]
)
def test_the_same_seed_gives_the_same_bits_also_when_resumed(
    make: Make, precision: str, flags: dict[str, object]
) -> None:
    reference, _ = make("whole", precision=precision, **flags)
    reference.run(RunLimits())
    again, _ = make("again", precision=precision, **flags)
    again.run(RunLimits())
    assert weights(again) == weights(reference)

    stopped, reporter = make("parts", precision=precision, **flags)

    def stop(progress: Progress) -> None:
        if progress.step == progress.steps // 2 + 1:
            os.kill(os.getpid(), signal.SIGTERM)

    reporter.on_step = stop
    assert stopped.run(RunLimits()).signal == signal.SIGTERM
    torch.rand(7, device="cuda")  # random numbers drawn in between must not matter
    resumed, _ = make("parts", precision=precision, **flags)
    resumed.resume(checkpoint.find_newest(resumed._folder, pytest.fail))
    resumed.run(RunLimits())
    assert weights(resumed) == weights(reference)


def test_separate_processes_give_the_same_bits(tmp_path: Path) -> None:
    flags = (
        "--vocab-size 1000 --d-model 64 --nhead 2 --num-layers 2 --dim-feedforward 128 --max-seq-length 64"
    )
    finals = []
    for name in ("one", "two"):
        command = [sys.executable, "-m", "tinyedge", "train", *flags.split(), "--stride", "4096"]
        subprocess.run([*command, "--output-dir", str(tmp_path / name)], check=True)
        finals.append(torch.load(tmp_path / name / "final_model.pt", weights_only=True)["model_state_dict"])
    assert all(torch.equal(finals[0][name], finals[1][name]) for name in finals[0])


def test_a_gpu_checkpoint_loads_on_a_cpu(make: Make) -> None:
    trainer, _ = make("run", epochs=1)
    trainer.run(RunLimits())
    trained = checkpoint.load_model(trainer._folder / "final_model.pt")
    assert {value.device.type for value in trained.model.parameters()} == {"cpu"}
    on_cpu, reporter = make("run", "cpu", "fp32", epochs=1)
    on_cpu.resume(trainer._folder / checkpoint.LAST_FILE)
    assert weights(on_cpu) == weights(trainer)
    assert reporter.notes == ["model: precision changes from bf16 to fp32"]


def test_out_of_memory_is_explained() -> None:
    with pytest.raises(torch.OutOfMemoryError) as failure:
        torch.empty(1 << 44, device="cuda")
    error = out_of_memory_error(failure.value, 32, 128)
    assert error is not None
    assert "--batch-size 16" in str(error.hint)


def test_more_processes_than_gpus_are_refused(tmp_path: Path) -> None:
    count = torch.cuda.device_count() + 1
    words = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "-m", "tinyedge", "train"]
    ended = subprocess.run(
        [sys.executable, *words, "--output-dir", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert ended.returncode
    error, hint = (line for line in ended.stderr.splitlines() if line.startswith(("error:", "hint:")))
    assert error.startswith(f"error: this machine has {count - 1} GPU")
    assert error.endswith(", fewer than processes")
    assert hint == "hint: pass a smaller --nproc-per-node to torchrun, or --device cpu"


def test_nccl_averages_the_gradients(make: Make, tmp_path: Path) -> None:
    """With one process, as many as a machine with one GPU can have. gloo reduces tensors on the CPU."""
    alone, reporter = make("alone")
    expected = losses(alone, reporter)
    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("cpu:gloo,cuda:nccl", init_method=store, rank=0, world_size=1)
    try:
        trainer, reporter = make("group")
        train_step = trainer._train_step
        train_step._objective = DistributedDataParallel(train_step._objective)
        train_step._objective.broadcast_buffers = False
        assert losses(trainer, reporter) == expected
        total = torch.ones(1, dtype=torch.float64)
        dist.all_reduce(total)
        assert total.item() == 1.0
    finally:
        dist.destroy_process_group()
    assert weights(trainer) == weights(alone)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="torch compiles only with Triton")
def test_a_failing_compiler_only_costs_speed(
    shards: Shards, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", fail)
    reporter = RecordingReporter()
    config = resolve("fast", {"epochs": 1, "batch_size": 16})
    hardware = choose_hardware("cuda", "auto")
    Trainer(SHAPE, config, shards, tokenizer, hardware, tmp_path, reporter).run(RunLimits())
    assert "training continues uncompiled" in reporter.notes[0]
