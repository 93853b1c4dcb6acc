"""Self-test of a bundle: greedy text for one prompt, with finite logits only.

In: the folder of a bundle. Out: nothing, or BundleError. `run` tests in a child process: a library that
crashes, hangs or exhausts the memory becomes an error message, and the caller can use another bundle.

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
# Last line that the child prints. The exit status alone proves nothing: in a process that ignores SIGCHLD,
# `subprocess` reports 0 for every child.
PASSED = "self-test passed"
TIMEOUT_S = 180.0  # a start on a board from a cold card takes about 10 s, under emulation about 60 s
HINT = "export the bundle again with: tinyedge export"


def run(folder: Path, timeout_s: float = TIMEOUT_S) -> None:
    """Test a bundle in a child process.

    Args:
        folder: Folder of the bundle.
        timeout_s: Seconds after which the child is killed and the test has failed.

    Raises:
        BundleError: The test failed; the message contains the reason.
    """
    # -P removes the current folder from sys.path: a file numpy.py in it is not imported.
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
            f"{folder} failed its self-test: no text after {timeout_s:g} s", "check the load of the machine"
        ) from None
    if completed.returncode == 0 and completed.stdout.splitlines()[-1:] == [PASSED]:
        return
    if completed.returncode < 0:
        reason = f"the process died with {signal.Signals(-completed.returncode).name}"
        raise BundleError(f"{folder} failed its self-test: {reason}", "look for the cause: tinyedge doctor")
    reason = (completed.stderr.strip().splitlines() or ["no reason given"])[-1]
    raise BundleError(f"{folder} failed its self-test: {reason}", HINT)


def check(folder: Path) -> str:
    """Generate text with a bundle in this process and return it.

    Raises:
        BundleError: The bundle is invalid, or a logit is not finite.
        TokenizerError: The tokenizer cannot be loaded.
    """
    from tinyedge.core.sampling import SamplingConfig
    from tinyedge.runtime.generator import Generator

    greedy = SamplingConfig(temperature=0)
    with Generator.load(folder) as generator:
        generator.tokenizer.check_pieces()
        return generator.generate(PROMPT, max_tokens=MAX_TOKENS, sampling=greedy, ignore_eos=True).text


def main() -> NoReturn:
    """Run the test in the child process."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        check(Path(sys.argv[1]))
    except TinyEdgeError as failure:
        sys.exit(failure.message)
    print(PASSED, flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
