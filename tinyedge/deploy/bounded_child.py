"""A local program whose output is bounded in time and size, such as ssh with whatever a board sends.

In: a command. Out: its output in chunks, its exit code, and the limit that ended it, if one did. Does not
know ssh.
"""

import contextlib
import os
import queue
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import IO, Literal

CHUNK_BYTES = 1 << 16
# A program that has ended may leave its pipes open in another one, such as a proxy command.
DRAIN_SECONDS = 2.0
Descriptor = Literal[1, 2]
DESCRIPTORS: tuple[Descriptor, ...] = (1, 2)  # of standard output and standard error


class BoundedChild:
    """A running program, as a context manager: leaving it ends the program.

    Both of its output streams are read in the background, so it never waits for this program.
    """

    def __init__(self, command: Sequence[str], seconds: float, limit: int) -> None:
        """Start the program.

        Args:
            command: The program and its arguments.
            seconds: Time after which it is ended; `restart_clock` begins a new period.
            limit: Bytes of output, both streams together, after which it is ended.
        """
        self.ended_by: Literal["", "time", "size"] = ""
        """Limit that ended the program; empty if it ended by itself."""
        self.has_closed_input = False
        """Whether the program does not read its input any more."""
        self._seconds, self._left = seconds, limit
        self._lock = threading.Lock()
        self._chunks: queue.SimpleQueue[tuple[Descriptor, bytes]] = queue.SimpleQueue()
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=make_environment(),
        )
        assert self._child.stdin is not None
        self._stdin = self._child.stdin
        self._clock = self._start_clock()
        for descriptor, stream in zip(DESCRIPTORS, (self._child.stdout, self._child.stderr), strict=True):
            assert stream is not None
            threading.Thread(target=self._read, args=(descriptor, stream), daemon=True).start()

    def __enter__(self) -> "BoundedChild":
        return self

    def __exit__(self, *ignored: object) -> None:
        self._clock.cancel()
        self.kill()
        self.close_input()
        self._child.wait()

    def write(self, content: bytes) -> int:
        """Write to the program's input; what a program that has ended does not read is discarded."""
        if not self.has_closed_input:
            try:
                self._stdin.write(content)
            except BrokenPipeError:
                self.has_closed_input = True
        return len(content)

    def close_input(self) -> None:
        """End the program's input."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def kill(self) -> None:
        """End the program."""
        self.has_closed_input = True
        self._child.kill()

    def restart_clock(self) -> None:
        """Give the program the full time again."""
        self._clock.cancel()
        self._clock = self._start_clock()

    def read_chunks(self) -> Iterator[tuple[Descriptor, bytes]]:
        """Yield the output as it arrives, until the program ends.

        Yields:
            1 for standard output or 2 for standard error, and bytes of it.
        """
        open_streams = set(DESCRIPTORS)
        while open_streams:
            try:
                descriptor, chunk = self._chunks.get(timeout=DRAIN_SECONDS)
            except queue.Empty:
                if self._child.poll() is not None:
                    return
                continue
            if chunk:
                yield descriptor, chunk
            else:
                open_streams.discard(descriptor)

    def read_all(self) -> tuple[bytes, bytes]:
        """Return all output: standard output and standard error."""
        content = {1: bytearray(), 2: bytearray()}
        for descriptor, chunk in self.read_chunks():
            content[descriptor] += chunk
        return bytes(content[1]), bytes(content[2])

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, negative after a signal; None if the program still runs after `seconds`."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def _start_clock(self) -> threading.Timer:
        clock = threading.Timer(self._seconds, self._end, ("time",))
        clock.daemon = True
        clock.start()
        return clock

    def _end(self, reason: Literal["time", "size"]) -> None:
        with self._lock:
            if self._child.poll() is None:
                self.ended_by = self.ended_by or reason
                self._child.kill()

    def _read(self, descriptor: Descriptor, stream: IO[bytes]) -> None:
        """Read one stream to its end or to the limit, then close it, so that no other writer can go on."""
        with contextlib.suppress(OSError, ValueError), stream:
            while chunk := os.read(stream.fileno(), CHUNK_BYTES):
                with self._lock:
                    kept = chunk[: self._left]
                    self._left -= len(kept)
                if kept:
                    self._chunks.put((descriptor, kept))
                if len(kept) < len(chunk):
                    self._end("size")
                    break
        self._chunks.put((descriptor, b""))


def make_environment() -> dict[str, str]:
    """Return an environment in which ssh and rsync print English messages.

    ssh passes the locale on to the board, where every system has this one.
    """
    return {**os.environ, "LC_ALL": "C"}
