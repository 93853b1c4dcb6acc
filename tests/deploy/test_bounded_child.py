"""A program whose output is bounded in time and size."""

import contextlib
from pathlib import Path

import psutil
import pytest

from tinyedge.deploy.bounded_child import BoundedChild


def run(script: str, seconds: float = 60, limit: int = 1 << 20) -> tuple[BoundedChild, bytes, bytes]:
    with BoundedChild(["sh", "-c", script], seconds, limit) as child:
        child.close_input()
        return child, *child.read_all()


def test_both_streams_and_the_exit_code() -> None:
    with BoundedChild(["sh", "-c", "cat; echo err >&2; exit 3"], 60, 1000) as child:
        assert child.write(b"in") == 2
        child.close_input()
        assert child.read_all() == (b"in", b"err\n")
        assert child.wait(60) == 3
    assert child.ended_by == ""


@pytest.mark.parametrize("stream", [1, 2])
def test_the_size_of_both_streams_together_is_limited(stream: int) -> None:
    child, output, errors = run(f"printf 12345; yes >&{stream}", limit=1000)
    assert child.ended_by == "size"
    assert len(output) + len(errors) == 1000


def test_another_writer_of_the_stream_does_not_go_on(tmp_path: Path) -> None:
    """Killing the shell leaves `yes` running; it ends because nobody reads its output any more."""
    pid_file = tmp_path / "pid"
    child, *_ = run(f"yes & echo $! >{pid_file}; wait", limit=1000)
    assert child.ended_by == "size"
    with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended already
        psutil.Process(int(pid_file.read_text())).wait(20)


def test_the_time_is_limited() -> None:
    child, output, _ = run("echo begun; exec sleep 60", seconds=0.5)
    assert (child.ended_by, output) == ("time", b"begun\n")


def test_a_program_that_leaves_its_streams_open_in_another_one_is_not_waited_for() -> None:
    child, output, _ = run("sleep 30 & echo done", seconds=20)
    assert (child.ended_by, output) == ("", b"done\n")


def test_a_program_that_reads_no_input_is_not_waited_for() -> None:
    with BoundedChild(["sh", "-c", "exec <&-; exit 0"], 60, 1000) as child:
        for _ in range(100):
            child.write(bytes(1 << 16))
        assert child.has_closed_input
        child.close_input()
        assert child.wait(60) == 0


def test_a_program_that_does_not_exist() -> None:
    with pytest.raises(FileNotFoundError):
        BoundedChild(["no-such-program"], 1, 1)
