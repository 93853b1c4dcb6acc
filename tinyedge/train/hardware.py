"""What this machine can do for training: device, number format, compiler, chosen or refused in one line."""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from tinyedge.core.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
# With others cuBLAS adds in any order, and torch refuses to multiply (its notes on reproducibility).
CUBLAS_WORKSPACE, REPEATABLE_WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")


@dataclass(frozen=True)
class Hardware:
    """Where the run computes.

    dtype: what matrix products run in; weights stay fp32. compiles: whether torch.compile pays here.
    """

    device: torch.device
    dtype: torch.dtype
    compiles: bool = False

    @property
    def precision(self) -> str:
        """Of matrix products, as the flag calls it."""
        return "bf16" if self.dtype is torch.bfloat16 else "fp32"

    @property
    def sentence(self) -> str:
        """For the user: "cpu, 2 threads, fp32"."""
        where = f"cpu, {torch.get_num_threads()} threads"
        if self.device.type == "cuda":
            where = torch.cuda.get_device_name(self.device)
        compiled = ", compiled" if self.compiles else ""
        return f"{where}, {self.precision}{compiled}"


def choose_hardware(device: str, precision: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> Hardware:
    """Resolves `--device` and `--precision`; "auto" takes a GPU, and bf16 where there are units for it."""
    if device not in DEVICES:
        raise UsageError(f"--device {device} is unknown", f"choose one of: {', '.join(DEVICES)}")
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision} is unknown", f"choose one of: {', '.join(PRECISIONS)}")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise UsageError("--device cuda, but torch sees no GPU here", "pass --device cpu or auto")
    chosen = torch.device("cuda" if has_gpu and device != "cpu" else "cpu")
    if precision == "auto":
        on_gpu = chosen.type == "cuda"
        fast = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_has_bf16(cpuinfo)
        precision = "bf16" if fast else "fp32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return Hardware(chosen, dtype, _compiling_pays(chosen, dtype))


def repeat_exactly(device: torch.device) -> None:
    """On a GPU sums are added in any order, unless torch is asked for a fixed one; on a CPU it has one."""
    if device.type != "cuda":
        return
    if os.environ.get(CUBLAS_WORKSPACE) not in REPEATABLE_WORKSPACES:
        os.environ[CUBLAS_WORKSPACE] = REPEATABLE_WORKSPACES[0]
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _compiling_pays(device: torch.device, dtype: torch.dtype) -> bool:
    """On a GPU and in bf16, where what lies between the matrix products counts; in fp32 on a CPU it gained
    nothing (docs/log.md) and costs half a minute. It needs Triton there, a C++ compiler here."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return dtype is torch.bfloat16 and any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def _cpu_has_bf16(cpuinfo: Path) -> bool:
    """Without units for it, bf16 on a CPU is emulated and slower than fp32."""
    try:
        words = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words
