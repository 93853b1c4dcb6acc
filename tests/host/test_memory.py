"""Memory of this process, from a recorded /proc/self/status."""

from pathlib import Path

import pytest

from tinyedge.core.errors import BenchError
from tinyedge.host.memory import read_memory


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmPeak:\t 9000 kB\nVmHWM:\t  60 kB\nVmRSS:\t  50 kB\nVmSwap:\t   2 kB\n")
    assert read_memory(status) == {"rss": 50 * 1024, "peak": 60 * 1024, "swap": 2 * 1024}
    status.write_text("VmRSS:\t  50 kB\n")
    with pytest.raises(BenchError, match="lacks one of"):
        read_memory(status)
