"""A simulated disk that fails on request."""

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Disk:
    """Records system calls that write, and fails those for which `bad(number, call)` is true.

    With `forever`, all later calls fail too. With `short`, a failing write writes half of its data first.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.bad: Callable[[int, str], bool] = lambda number, call: False
        self.error, self.forever, self.short = errno.EIO, False, False
        self._broken = False
        disk, path_open, replace, fsync, os_open = self, Path.open, Path.replace, os.fsync, os.open
        rename, symlink = Path.rename, Path.symlink_to

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                try:
                    disk.call("write", Path(str(self.name)))
                except OSError:
                    if disk.short:  # half of the data is written
                        super().write(memoryview(data).cast("B")[: len(data) // 2])
                    raise
                return super().write(data)

        def open_(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
            if mode not in ("wb", "xb"):
                return path_open(path, mode, *more, **named)
            self.call("open", path)
            return io.BufferedWriter(Raw(str(path), mode))

        def os_open_(path: Any, *more: Any, **named: Any) -> int:
            self.call("open", Path(path))
            return os_open(path, *more, **named)

        def replace_(path: Path, target: Path) -> Path:
            self.call("rename", path)
            return replace(path, target)

        def rename_(path: Path, target: Path) -> Path:
            self.call("rename", path)
            return rename(path, target)

        def symlink_(path: Path, *more: Any, **named: Any) -> None:
            self.call("symlink", path)
            symlink(path, *more, **named)

        def fsync_(descriptor: int) -> None:
            self.call("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
            fsync(descriptor)

        monkeypatch.setattr(Path, "open", open_)
        monkeypatch.setattr(Path, "replace", replace_)
        monkeypatch.setattr(Path, "rename", rename_)
        monkeypatch.setattr(Path, "symlink_to", symlink_)
        monkeypatch.setattr("tinyedge.core.files.os.open", os_open_)
        monkeypatch.setattr("tinyedge.core.files.os.fsync", fsync_)

    def call(self, name: str, path: Path) -> None:
        """Record a system call, or fail it."""
        self.calls.append(f"{name} {path.name}")
        if self._broken or self.bad(len(self.calls), self.calls[-1]):
            self._broken = self.forever
            raise OSError(self.error, os.strerror(self.error), str(path))

    def mend(self) -> None:
        """Forget all calls, and stop failing."""
        self.calls, self.bad, self._broken = [], lambda number, call: False, False
