"""The environment that this process was started with, as the kernel shows it to other programs.

In: the name of a variable. Out: nothing; its value is gone. `os.environ` keeps its own copy.
"""

import contextlib
import os


def erase_variable(name: str) -> None:
    """Overwrite the value of a variable with zeros where the process was started with it.

    Removing a variable from `os.environ` unsets it, but /proc/PID/environ and `ps e` keep showing the memory
    in which the kernel passed it. Call this before it is removed.
    """
    if name not in os.environ:
        return
    with contextlib.suppress(OSError, AttributeError, ImportError):  # no C library that can be loaded
        import ctypes  # only if there is something to erase

        getenv = ctypes.CDLL(None).getenv
        getenv.argtypes, getenv.restype = (ctypes.c_char_p,), ctypes.c_void_p
        if address := getenv(name.encode()):
            ctypes.memset(address, 0, len(ctypes.string_at(address)))
