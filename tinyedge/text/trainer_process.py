"""SentencePiece's trainer in a child process: `python -m tinyedge.text.trainer_process PARENT OPTIONS`.

In: lines on standard input. Out: the bytes of a `.model` on standard output, after a line with their number.
Python handles a signal only after C++ code returns, which takes seconds to minutes here. A child process can
be ended at once, and its memory is separate from the parent's. The child ends whenever its parent ends, even
if the parent was killed. Does not know corpora or the project's settings.
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

# First line of the output; the rest is the model or SentencePiece's message. The exit status alone proves
# nothing: in a process that ignores SIGCHLD, `subprocess` reports 0 for every child.
TRAINED, REFUSED = b"model of %d bytes", b"refused"


class TrainerRefusedError(Exception):
    """SentencePiece cannot train on these lines; the message is SentencePiece's own."""


class TrainerDiedError(Exception):
    """The process ended without a result; the message is the signal's name or the exit status."""


def train_unigram(lines: Iterable[str], options: Mapping[str, Any]) -> bytes:
    """Train a vocabulary in a child process.

    The child process has ended when this function returns or raises, also on a signal's exception.

    Args:
        lines: Sentences without line breaks.
        options: Options of SentencePiece's trainer; must be serializable as JSON.

    Returns:
        Content of the `.model` file.

    Raises:
        TrainerRefusedError: SentencePiece cannot train on these lines.
        TrainerDiedError: The process ended without a result.
    """
    with _start_process(options) as process:
        assert process.stdin
        assert process.stdout
        try:
            with contextlib.suppress(BrokenPipeError):  # the child has ended; its exit status tells why
                process.stdin.writelines(line.encode() + b"\n" for line in lines)
                process.stdin.close()
            output = process.stdout.read()
        except BaseException:
            process.kill()
            raise
        finally:  # after the kill: closing flushes the pipe, which blocks while a living child does not read
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
    kind, _, content = output.partition(b"\n")
    if kind == REFUSED:
        raise TrainerRefusedError(content.decode())
    if process.returncode or kind != TRAINED % len(content):
        raise TrainerDiedError(_describe_exit_status(process.returncode))
    return content


def main() -> int:
    """Run in the child process; return its exit status."""
    _exit_with_parent(int(sys.argv[1]))
    import sentencepiece

    model = io.BytesIO()
    lines = (line.removesuffix(b"\n") for line in sys.stdin.buffer)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines, model_writer=model, **json.loads(sys.argv[2])
        )
    except RuntimeError as failure:
        sys.stdout.buffer.write(REFUSED + b"\n" + str(failure).encode(errors="replace"))
        return 1
    sys.stdout.buffer.write(TRAINED % len(model.getbuffer()) + b"\n")
    sys.stdout.buffer.write(model.getbuffer())
    return 0


def _start_process(options: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
    # -P: do not import modules from the current folder.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "tinyedge.text.trainer_process", str(os.getpid()), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=subprocess_env.make_environment(),
        process_group=0,  # Ctrl-C reaches only the parent, which then ends this process
    )


def _exit_with_parent(parent: int) -> None:
    """End this process when its parent ends, even inside C++ code."""
    subprocess_env.die_with_parent()
    if os.getppid() != parent:  # the parent ended before the call
        sys.exit(1)


def _describe_exit_status(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


if __name__ == "__main__":
    sys.exit(main())
