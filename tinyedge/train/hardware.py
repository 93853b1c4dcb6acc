"""What this machine can do for training: device and number format, chosen or refused in one line."""

from dataclasses import dataclass
from pathlib import Path

import torch

from tinyedge.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class Hardware:
    """Where the run computes. dtype: what matrix products run in; weights stay fp32."""

    device: torch.device
    dtype: torch.dtype

    @property
    def sentence(self) -> str:
        """For the user: "cpu, 2 threads, fp32"."""
        where = f"cpu, {torch.get_num_threads()} threads"
        if self.device.type == "cuda":
            where = torch.cuda.get_device_name(self.device)
        return f"{where}, {'bf16' if self.dtype is torch.bfloat16 else 'fp32'}"


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
        fast_bf16 = torch.cuda.is_bf16_supported() if chosen.type == "cuda" else _cpu_has_bf16(cpuinfo)
        precision = "bf16" if fast_bf16 else "fp32"
    return Hardware(chosen, torch.bfloat16 if precision == "bf16" else torch.float32)


def _cpu_has_bf16(cpuinfo: Path) -> bool:
    """Without units for it, bf16 on a CPU is emulated and slower than fp32."""
    try:
        words = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words
