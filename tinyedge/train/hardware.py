"""The hardware that a run computes on: device, number format, compiler.

In: `--device` and `--precision`. Out: what the machine supports, or an error. Does not know the model.
"""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from tinyedge.core.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
# With other values, cuBLAS sums in varying order, and torch refuses matrix products (see torch's notes on
# reproducibility).
CUBLAS_WORKSPACE, DETERMINISTIC_WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")


@dataclass(frozen=True)
class Hardware:
    """Where and how a run computes."""

    device: torch.device
    """CPU or GPU."""

    dtype: torch.dtype
    """Number format of matrix products. Weights are always fp32."""

    use_compile: bool = False
    """Whether to use torch.compile."""

    @property
    def precision(self) -> str:
        """Number format of matrix products, as `--precision` names it."""
        return "bf16" if self.dtype is torch.bfloat16 else "fp32"

    def autocast(self) -> torch.autocast:
        """Return a context in which matrix products are computed in this format."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16)

    @property
    def description(self) -> str:
        """For the user, such as "cpu, 2 threads, fp32"."""
        where = f"cpu, {torch.get_num_threads()} threads"
        if self.device.type == "cuda":
            where = torch.cuda.get_device_name(self.device)
        compiled = ", compiled" if self.use_compile else ""
        return f"{where}, {self.precision}{compiled}"


def choose_hardware(device: str, precision: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> Hardware:
    """Resolve `--device` and `--precision`.

    Args:
        device: One of `DEVICES`; "auto" prefers a GPU.
        precision: One of `PRECISIONS`; "auto" is bf16 where the hardware computes in it, else fp32.
        cpuinfo: The kernel's description of the CPU.

    Raises:
        UsageError: A value is unknown, or there is no GPU.
    """
    if device not in DEVICES:
        raise UsageError(f"--device {device} is unknown", f"choose one of: {', '.join(DEVICES)}")
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision} is unknown", f"choose one of: {', '.join(PRECISIONS)}")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise UsageError("--device cuda: torch finds no GPU on this machine", "pass --device cpu or auto")
    chosen = torch.device("cuda" if has_gpu and device != "cpu" else "cpu")
    if precision == "auto":
        on_gpu = chosen.type == "cuda"
        fast = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_has_bf16(cpuinfo)
        precision = "bf16" if fast else "fp32"
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return Hardware(chosen, dtype, _should_compile(chosen, dtype))


def enable_determinism(device: torch.device) -> None:
    """Make results reproducible to the bit.

    On a GPU, sums are otherwise computed in varying order. On a CPU their order is fixed anyway.
    """
    if device.type != "cuda":
        return
    if os.environ.get(CUBLAS_WORKSPACE) not in DETERMINISTIC_WORKSPACES:
        os.environ[CUBLAS_WORKSPACE] = DETERMINISTIC_WORKSPACES[0]
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _should_compile(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch.compile makes training faster and its own compiler is installed.

    It does on a GPU and in bf16, where the operations between matrix products take a large share of the time.
    In fp32 on a CPU it gained nothing and costs half a minute (docs/log.md). On a GPU it needs Triton, on a
    CPU a C++ compiler.
    """
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return dtype is torch.bfloat16 and any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def _cpu_has_bf16(cpuinfo: Path) -> bool:
    """Whether the CPU computes in bf16. Emulated bf16 is slower than fp32."""
    try:
        words = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words
