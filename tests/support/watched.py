"""Run `tinyedge verify` on many bundles in one process and record its actions for each.

    python tests/support/watched.py VALID MALICIOUS... > report.json

VALID is verified first, so that the files that its imports open are not attributed to the malicious bundles.
Recorded for each bundle: exit code, lines of stderr, files that Python opened, number of ONNX Runtime
sessions, seconds of CPU time.
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
    """Write one JSON object to standard output: a report by bundle."""
    opened: list[str] = []
    sessions: list[object] = []

    def record(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[0], int):  # an int is a descriptor, which was opened before
                opened.append(os.fsdecode(arguments[0]))
        elif event in ("socket.connect", "subprocess.Popen", "os.exec", "os.system", "ctypes.dlopen"):
            opened.append(event)

    class CountedSession(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            sessions.append(self)
            super().__init__(*arguments, **options)

    onnxruntime.InferenceSession = CountedSession
    valid, *others = sys.argv[1:]
    verify(valid)  # imports all modules
    sys.addaudithook(record)
    reports = {}
    for bundle in (valid, *others):
        opened.clear()
        sessions.clear()
        started = time.process_time()
        code, stderr = verify(bundle)
        seconds = time.process_time() - started
        reports[bundle] = {
            "code": code,
            "stderr": stderr.splitlines(),
            "opened": [str(Path(name)) for name in opened],
            "sessions": len(sessions),
            "cpu_seconds": seconds,
        }
    json.dump(reports, sys.stdout)


def verify(bundle: str) -> tuple[Any, str]:
    """Run `tinyedge verify` once; return its exit code and stderr."""
    sys.argv = ["tinyedge", "verify", bundle]
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main()
        except SystemExit as end:
            return end.code, stderr.getvalue()


if __name__ == "__main__":
    main()
