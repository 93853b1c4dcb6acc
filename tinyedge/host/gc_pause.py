"""A pause of Python's garbage collector while objects are created that live as long as the process."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def pause_gc() -> Iterator[None]:
    """Pause collections during imports and loading, and exclude what these create from later collections.

    Without the pause, collections are 3% of the instructions of a start on the device and 4% of its time
    (docs/device.md).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
