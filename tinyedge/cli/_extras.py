"""Whether an extra is installed, said before anything is done."""

import importlib.util

from tinyedge.core.errors import MissingDependencyError


def require(package: str, extra: str) -> None:
    """Raises MissingDependencyError unless `package` can be imported; does not import it."""
    if importlib.util.find_spec(package) is None:
        raise MissingDependencyError(package, extra)
