"""Every way in which tinyedge fails on purpose.

TinyEdgeError                exit 1, a known failure
├── UsageError               exit 2, a flag or a config value that cannot work
├── MissingDependencyError   exit 1, an extra is not installed
├── CorpusError              exit 1, text that cannot become a corpus
├── TokenizerError           exit 1, a vocabulary or a tokenizer file that does not fit
├── CheckpointError          exit 1, a checkpoint that is damaged, hostile or of another run
├── TrainingError            exit 1, a run that cannot go on: no loss, no memory, or a process of it is dead
├── BundleError              exit 1, a bundle that is not whole, known and safe
├── StoreError               exit 1, a board's store without a bundle that can serve, or with another writer
├── DeployError              exit 1, a board, or a kit for one, that could not be made ready
├── ExportError              exit 1, an export that would not be the model that was trained
├── FilterError              exit 1, a word list that cannot work
├── BenchError               exit 1, a measurement that could not be made
├── FitError                 exit 1, a budget that no shape keeps
├── ServeError               exit 1, a server that cannot listen where it was told to
└── MonitorError             exit 1, a server that cannot be watched

Library code raises these; `tinyedge.cli.main` alone turns them into one `error:` line, a hint and an exit
code. A failed gate (3), an inconclusive one (4) and an interrupt (130, 143) are results, not errors.
"""

from collections.abc import Iterable
from typing import ClassVar


class TinyEdgeError(Exception):
    """A known failure: `message` names the flag, file or field; `hint` names the way out."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(TinyEdgeError):
    """An argument or a configuration value that is invalid.

    Library code names parameters (`max_tokens`); `tinyedge.cli.main` replaces them by flags (`--max-tokens`).
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, hint: str = "", parameters: Iterable[str] = ()) -> None:
        """Create the error.

        Args:
            message: What is wrong.
            hint: What to do about it.
            parameters: Words of `message` and `hint` that are names of parameters.
        """
        super().__init__(message, hint)
        self.parameters = tuple(parameters)


class MissingDependencyError(TinyEdgeError):
    """A command needs an extra that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        hint = f"on the workstation, in tinyedge's own folder: make env (or pip install '.[{extra}]')"
        if extra == "serve":  # the one extra that a device has a use for
            hint = (
                "install the wheel with its extra: pip install 'tinyedge_lm-VERSION-py3-none-any.whl[serve]'"
            )
        super().__init__(f"{package} is not installed", hint)


class CorpusError(TinyEdgeError):
    """Text that cannot become a corpus."""


class TokenizerError(TinyEdgeError):
    """A vocabulary that the text cannot fill, or a tokenizer file that does not fit."""


class CheckpointError(TinyEdgeError):
    """A checkpoint that is damaged, hostile, or of another run."""


class TrainingError(TinyEdgeError):
    """A run that cannot go on: its loss is no number, memory is short, or one of its processes is dead."""


class BundleError(TinyEdgeError):
    """A bundle that is not whole, known and safe."""


class StoreError(TinyEdgeError):
    """A board's store of bundles that has none to serve, or that another process is changing."""


class DeployError(TinyEdgeError):
    """A board that could not be reached or made ready, or a kit for it that could not be made."""


class ExportError(TinyEdgeError):
    """An export that would not be the model that was trained."""


class FilterError(TinyEdgeError):
    """A word list that cannot work."""


class BenchError(TinyEdgeError):
    """A measurement that could not be made."""


class FitError(TinyEdgeError):
    """A budget that no shape keeps."""


class ServeError(TinyEdgeError):
    """A server that cannot listen where it was told to."""


class MonitorError(TinyEdgeError):
    """A server that cannot be watched."""
