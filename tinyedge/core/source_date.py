"""The date that a reproducible file may contain: SOURCE_DATE_EPOCH, as reproducible-builds.org defines it.

The time of day at which a file is made would give two equal files different digests.
"""

import datetime
import os

from tinyedge.core.errors import UsageError

VARIABLE = "SOURCE_DATE_EPOCH"


def read_source_date() -> str | None:
    """Return the date of the sources in UTC, ISO 8601; None where the variable is not set.

    Raises:
        UsageError: The variable is not a number of seconds since 1970.
    """
    value = os.environ.get(VARIABLE, "")
    if not value:
        return None
    try:
        return datetime.datetime.fromtimestamp(int(value), datetime.UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"{VARIABLE}={value} is not a number of seconds since 1970", f"set it to one, or unset {VARIABLE}"
        ) from None
