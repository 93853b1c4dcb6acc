"""Does a bundle answer? Greedy text for one prompt, every number of it finite.

In: a bundle's folder. Out: nothing, or BundleError. `run` does it in a process of its own: a library that
dies, hangs or eats the memory is then a sentence, and whoever asked lives on to fall back.

    python -m tinyedge.runtime.self_test FOLDER
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from tinyedge.core.errors import BundleError, TinyEdgeError
from tinyedge.host import subprocess_env

PROMPT = "The house"
MAX_TOKENS = 16
TIMEOUT_S = 180.0  # a start on a board from a cold card takes some 10 s, under emulation some 60 s
HINT = "export the bundle again with: tinyedge export"


def run(folder: Path, timeout_s: float = TIMEOUT_S) -> None:
    """Tests the bundle in `folder` in a child process. Raises BundleError with the reason."""
    # -P keeps the current folder, and any numpy.py in it, out of its imports.
    command = [sys.executable, "-P", "-m", "tinyedge.runtime.self_test", str(folder)]
    try:
        completed = subprocess.run(
            command,
            env=subprocess_env.make_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            text=True,
            errors="replace",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"{folder} failed its self-test: no text after {timeout_s:g} s", "look at the machine's load"
        ) from None
    if completed.returncode == 0:
        return
    if completed.returncode < 0:
        reason = f"the process died with {signal.Signals(-completed.returncode).name}"
        raise BundleError(f"{folder} failed its self-test: {reason}", "tinyedge doctor looks for the cause")
    reason = (completed.stderr.strip().splitlines() or ["it does not say why"])[-1]
    raise BundleError(f"{folder} failed its self-test: {reason}", HINT)


def check(folder: Path) -> str:
    """The text, if all is well. Raises BundleError, also for a logit that is no number, or TokenizerError."""
    from tinyedge.core.sampling import SamplingConfig
    from tinyedge.runtime.generator import Generator

    greedy = SamplingConfig(temperature=0)
    with Generator.load(folder) as generator:
        return generator.generate(PROMPT, max_tokens=MAX_TOKENS, sampling=greedy, ignore_eos=True).text


def main() -> NoReturn:
    """The child."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        check(Path(sys.argv[1]))
    except TinyEdgeError as failure:
        sys.exit(failure.message)
    sys.exit(0)


if __name__ == "__main__":
    main()
