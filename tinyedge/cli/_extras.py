"""Check that an extra is installed, before a command does anything."""

import importlib.util

from tinyedge.core.errors import MissingDependencyError


def require_package(package: str, extra: str) -> None:
    """Raise MissingDependencyError unless `package` can be imported; does not import it."""
    if importlib.util.find_spec(package) is None:
        raise MissingDependencyError(package, extra)
