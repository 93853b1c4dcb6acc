"""A child process that tries what may crash or hang, so that only the child does.

In: a command. Out: the ended process, or a Finding that it did not start or end.
"""

import os
import subprocess
from collections.abc import Sequence

from tinyedge.doctor.finding import Finding

# From 1.29.0 on onnxruntime collects telemetry as soon as it is imported, unless this is set (Privacy.md).
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}


def run_child(
    name: str, command: Sequence[str], seconds: float, late: str
) -> "subprocess.CompletedProcess[str] | Finding":
    """Run a command to its end.

    Args:
        name: Name of the finding.
        command: The command.
        seconds: Time limit.
        late: What is found if the time limit is reached.
    """
    try:
        return subprocess.run(
            command,
            env={**os.environ, **NO_TELEMETRY},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(name, late, "bad", "check the machine's load and free memory, then try again")
    except OSError as failure:
        found = f"{command[0]} cannot be started: {failure.strerror}"
        return Finding(name, found, "bad", "create the Python environment again")
