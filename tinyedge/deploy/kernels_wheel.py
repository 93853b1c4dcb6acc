"""The wheel of the native kernels for a board: built from the checkout, else downloaded.

In: a folder and a WheelPlatform. Out: the wheel in it, or NoKernelsError, after which a kit can be made
without them: a board then runs the same bundle in ONNX Runtime alone, at about half the speed.
"""

import importlib.util
import sysconfig
from pathlib import Path

from tinyedge import __version__
from tinyedge.boards.wheel_platform import WheelPlatform
from tinyedge.core.errors import DeployError
from tinyedge.deploy.own_wheel import PACKAGE_ROOT, is_checkout, run_pip

DISTRIBUTION = "tinyedge-kernels"
WHEEL_PATTERN = "tinyedge_kernels-*.whl"
SOURCES = PACKAGE_ROOT / "export" / "kernels"
TARGET_VARIABLE = "TINYEDGE_KERNELS_TARGET"  # the machine that the build hook compiles for
NOT_ON_THE_INDEX = "No matching distribution"  # pip's words


class NoKernelsError(DeployError):
    """There can be no wheel of the kernels here; the message says why."""


def make_kernels_wheel(folder: Path, board: WheelPlatform) -> Path:
    """Make the wheel in `folder`.

    Args:
        folder: An empty folder.
        board: Platform of the board.

    Raises:
        NoKernelsError: Python's headers are missing, or the package index has no wheel for this board.
        DeployError: The build failed, or the package index cannot be reached.
    """
    if is_checkout(PACKAGE_ROOT):
        headers = Path(sysconfig.get_path("include"))
        if not (headers / "Python.h").exists():
            raise NoKernelsError(f"{headers} has no Python.h, of Debian's package python3-dev")
        # Use installed build tools: an isolated build downloads the compiler each time.
        has_tools = importlib.util.find_spec("hatchling") and importlib.util.find_spec("ziglang")
        isolation = ["--no-build-isolation"] if has_tools else []
        run_pip(
            *["wheel", "--no-deps", *isolation, "--wheel-dir", str(folder), str(SOURCES)],
            task="build the native kernels",
            environment={TARGET_VARIABLE: board.machine},
        )
    else:
        platforms = [word for name in board.platforms for word in ("--platform", name)]
        options = ["--dest", str(folder), "--no-deps", "--only-binary=:all:", *platforms]
        try:
            run_pip(
                "download", *options, f"{DISTRIBUTION}=={__version__}", task="download the native kernels"
            )
        except DeployError as failure:
            if NOT_ON_THE_INDEX in failure.message:
                raise NoKernelsError(f"the package index has none for {board.machine}") from None
            raise
    return next(folder.glob(WHEEL_PATTERN))
