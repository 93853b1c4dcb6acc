"""The errors that tinyedge raises on purpose.

TinyEdgeError                exit 1, a known failure
├── UsageError               exit 2, an argument or a configuration value that is invalid
├── MissingDependencyError   exit 1, an extra is not installed
├── CorpusError              exit 1, text that is not usable as a corpus
├── TokenizerError           exit 1, a vocabulary or a tokenizer file that does not fit
├── CheckpointError          exit 1, a checkpoint that is damaged, unsafe or of another run
├── TrainingError            exit 1, a run that cannot continue: invalid loss, no memory, or a dead process
├── BundleError              exit 1, a bundle that is incomplete, unknown or unsafe
├── EngineError              exit 1, an engine that was chosen and cannot run here
├── StoreError               exit 1, a board's store without a usable bundle, or in use by another process
├── DeployError              exit 1, a board or a kit that could not be prepared
├── ExportError              exit 1, an export that would differ from the trained model
├── FilterError              exit 1, an invalid word list
├── BenchError               exit 1, a measurement that failed
├── FitError                 exit 1, a budget that no shape meets
├── ServeError               exit 1, a server that cannot listen on its address
└── MonitorError             exit 1, a server that cannot be monitored

Library code raises these; `tinyedge.cli.main` alone turns them into one `error:` line, a hint and an exit
code. A failed gate (3), an inconclusive one (4) and an interrupt (130, 143) are results, not errors.
"""

from collections.abc import Callable, Collection, Iterable
from typing import ClassVar


class TinyEdgeError(Exception):
    """A known failure: `message` names the parameter, file or field; `hint` is the remedy."""

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

    def name_flags(self, flags: Callable[[str], str], values: Collection[str] = ()) -> "UsageError":
        """Return the error with flags in the place of its parameters' names.

        Args:
            flags: Maps a parameter's name to its flag.
            values: What the user typed: a value that is the name of a parameter stays.
        """
        import re

        message, hint = self.message, self.hint
        for name in self.parameters:
            pattern = re.compile(rf"(?<![\w./-]){re.escape(name)}(?![\w/=-])")
            # A name stands before its value, so only the first occurrence is the name.
            message = pattern.sub(lambda _, name=name: flags(name), message, count=1)  # type: ignore[misc]
            if name not in values:
                hint = pattern.sub(lambda _, name=name: flags(name), hint)  # type: ignore[misc]
        return UsageError(message, hint)


class MissingDependencyError(TinyEdgeError):
    """An extra that a command needs is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        hint = f"on the workstation, in tinyedge's own folder: make env (or pip install '.[{extra}]')"
        if extra == "serve":  # the only extra that a device uses
            hint = (
                "install the wheel with its extra: pip install 'tinyedge_lm-VERSION-py3-none-any.whl[serve]'"
            )
        if extra == "documents":
            hint = "pip install 'tinyedge-lm[documents]', or in tinyedge's own folder: make env"
        super().__init__(f"{package} is not installed", hint)
        self.extra = extra


class CorpusError(TinyEdgeError):
    """Text that is not usable as a corpus."""


class TokenizerError(TinyEdgeError):
    """A vocabulary that is too large for the text, or a tokenizer file that does not fit."""


class CheckpointError(TinyEdgeError):
    """A checkpoint that is damaged, unsafe, or of another run."""


class TrainingError(TinyEdgeError):
    """A run that cannot continue: its loss is not finite, memory is short, or a process of it is dead."""


class BundleError(TinyEdgeError):
    """A bundle that is incomplete, of an unknown kind, or unsafe."""


class EngineError(TinyEdgeError):
    """An engine that was chosen and that is unknown or cannot run here."""


class StoreError(TinyEdgeError):
    """A board's store of bundles that has no usable bundle, or that another process is changing."""


class DeployError(TinyEdgeError):
    """A board that could not be reached or prepared, or a kit that could not be built."""


class ExportError(TinyEdgeError):
    """An export that would differ from the trained model."""


class LearnError(TinyEdgeError):
    """A text from which a bundle did not learn what would be better."""


class FilterError(TinyEdgeError):
    """An invalid word list."""


class BenchError(TinyEdgeError):
    """A measurement that failed."""


class FitError(TinyEdgeError):
    """A budget that no shape meets."""


class ServeError(TinyEdgeError):
    """A server that cannot listen on its address."""


class MonitorError(TinyEdgeError):
    """A server that cannot be monitored."""
