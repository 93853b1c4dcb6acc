"""Runs `tinyedge verify` on many bundles in one process and writes down what each made it do.

    python tests/watched.py WHOLE BAD... > report.json

WHOLE is verified first: what that imports is no part of what the bad ones open. Reports of each: exit code,
lines of stderr, the files that Python opened, how often ONNX Runtime was handed a model, seconds of CPU.
"""

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import onnxruntime

from tinyedge.cli import main as cli


def main() -> None:
    """Standard output gets one JSON object, bundle to report."""
    opened: list[str] = []
    sessions: list[object] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[0], int):  # a descriptor, which was opened before
                opened.append(os.fsdecode(arguments[0]))
        elif event in ("socket.connect", "subprocess.Popen", "os.exec", "os.system", "ctypes.dlopen"):
            opened.append(event)

    class Watched(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            sessions.append(self)
            super().__init__(*arguments, **options)

    onnxruntime.InferenceSession = Watched
    whole, *others = sys.argv[1:]
    verify(whole)  # imports whatever there is to import
    sys.addaudithook(watch)
    reports = {}
    for bundle in (whole, *others):
        opened.clear()
        sessions.clear()
        began = time.process_time()
        code, stderr = verify(bundle)
        seconds = time.process_time() - began
        reports[bundle] = {
            "code": code,
            "stderr": stderr.splitlines(),
            "opened": [str(Path(name)) for name in opened],
            "sessions": len(sessions),
            "cpu_seconds": seconds,
        }
    json.dump(reports, sys.stdout)


def verify(bundle: str) -> tuple[Any, str]:
    """Exit code and stderr of one `tinyedge verify`."""
    sys.argv = ["tinyedge", "verify", bundle]
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main()
        except SystemExit as end:
            return end.code, stderr.getvalue()


if __name__ == "__main__":
    main()
