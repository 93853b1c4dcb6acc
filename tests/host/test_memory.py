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
    with pytest.raises(BenchError, match="lacks one of VmRSS, VmHWM, VmSwap"):
        read_memory(status)


@pytest.mark.parametrize("text", [None, "", "VmHWM:\t\nVmRSS:\t 50 kB\nVmSwap: 0 kB\n", "VmRSS: many kB\n"])
def test_a_missing_or_malformed_status_is_an_error_of_the_measurement(
    tmp_path: Path, text: str | None
) -> None:
    status = tmp_path / "status"
    if text is not None:
        status.write_text(text)
    with pytest.raises(BenchError, match="lacks one of"):
        read_memory(status)
