"""`python -m tinyedge.text.trainer_process PARENT OPTIONS`: SentencePiece's trainer, in a process of its own.

In: lines. Out: the bytes of a `.model`. Python acts on a signal only when C++ returns, and here that takes
seconds to minutes; a process of its own can be ended at once, and its memory is not its parent's.
It never outlives its parent, however that ends.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from tinyedge.host import subprocess_env

EXIT_REFUSED = 3  # the exit status that says: SentencePiece's own words follow on standard output


class TrainerRefusedError(Exception):
    """SentencePiece cannot train on these lines; its own words."""


class TrainerDiedError(Exception):
    """The process ended without an answer; the name of the signal, or the exit status."""


def train_unigram(lines: Iterable[str], options: Mapping[str, Any]) -> bytes:
    """Trains on lines without line breaks and returns the bytes of a `.model`.

    options: SentencePiece's own, as JSON can carry them. Whatever ends this function, a signal's exception
    too, ends the process. Raises RefusedError and DiedError.
    """
    with _start_process(options) as process:
        assert process.stdin
        assert process.stdout
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended; its exit status says why
                process.stdin.writelines(line.encode() + b"\n" for line in lines)
                process.stdin.close()
            output = process.stdout.read()
        except BaseException:
            process.kill()
            raise
        finally:  # after the kill: closing writes what waits, and a process that reads no more would block it
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
    if process.returncode == EXIT_REFUSED:
        raise TrainerRefusedError(output.decode())
    if process.returncode:
        raise TrainerDiedError(_describe_exit_status(process.returncode))
    return output


def main() -> int:
    """The process itself."""
    _exit_with_parent(int(sys.argv[1]))
    import sentencepiece

    model = io.BytesIO()
    lines = (line.removesuffix(b"\n") for line in sys.stdin.buffer)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines, model_writer=model, **json.loads(sys.argv[2])
        )
    except RuntimeError as failure:
        sys.stdout.buffer.write(str(failure).encode(errors="replace"))
        return EXIT_REFUSED
    sys.stdout.buffer.write(model.getbuffer())
    return 0


def _start_process(options: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
    # -P keeps the current folder out of its imports.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tinyedge.text.trainer_process", str(os.getpid()), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=subprocess_env.make_environment(),
        process_group=0,  # Ctrl-C reaches the parent alone, which then ends this process
    )


def _exit_with_parent(parent: int) -> None:
    """A parent that is killed outright takes this process along, in the middle of its C++."""
    subprocess_env.die_with_parent()
    if os.getppid() != parent:  # it died before
        sys.exit(1)


def _describe_exit_status(status: int) -> str:
    if status > 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


if __name__ == "__main__":
    sys.exit(main())
