"""What psutil raises and returns where a system does not provide a reading.

Loads psutil, so it is imported inside functions only.
"""

import math

import psutil

# A function may be missing, may not be implemented for the system (NotImplementedError is a RuntimeError), or
# may be refused by it.
READING_ERRORS = (psutil.Error, RuntimeError, AttributeError, OSError)


def is_reading(value: float | None) -> bool:
    """Return whether a value is a finite number; drivers without one give None or NaN."""
    return value is not None and math.isfinite(value)
