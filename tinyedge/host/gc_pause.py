"""Python's garbage collector, and when it has nothing to do."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """For imports and loading: what they make stays, and is not looked through, neither meanwhile nor later.

    Otherwise that is 3 % of a start's instructions on the device and 4 % of its time (docs/device.md).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
