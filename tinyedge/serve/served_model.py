"""The bundle that is served, with all that answers need of it.

In: a loaded bundle and the settings. Out: one value, which the app replaces as a whole when the bundle is
loaded again: a request uses one bundle from its beginning to its end.
"""

import functools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinyedge.bundle.bundle import bundle_digest
from tinyedge.core.errors import UsageError
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Generator
from tinyedge.serve.requests import MODEL_ID, RequestLimits
from tinyedge.text.turns import encode_turns

if TYPE_CHECKING:  # few servers need it
    from tinyedge.serve.home_commands import HomeCommands


@dataclass(frozen=True)
class ServedModel:
    """A loaded bundle, and what requests and answers depend on."""

    generator: Generator
    """The loaded bundle."""
    content_filter: ContentFilter | None
    """The filter of its answers; None for none."""
    limits: RequestLimits
    """Limits of the requests for it."""
    digest: str
    """Identifier of the bundle, the sha256 of its manifest."""
    loaded_at: int
    """When it was loaded, in seconds since 1970."""

    @classmethod
    def of(
        cls,
        generator: Generator,
        content_filter: ContentFilter | None,
        max_tokens: int,
        commands: "HomeCommands | None",
    ) -> "ServedModel":
        """Check that a bundle can be served with these settings.

        Raises:
            UsageError: The settings have a home, and the model was not trained on pairs.
        """
        bundle = generator.bundle
        if commands and bundle.template is None:
            raise UsageError(
                f"home: the model of {bundle.path} was not trained on pairs",
                "train one that was: tinyedge train --source commands",
                ("home",),
            )
        vocab_size, chat = generator.config.vocab_size, bundle.manifest.get("chat")
        limits = RequestLimits(vocab_size, max_tokens)
        if chat is not None:
            encode = functools.partial(encode_turns, generator.tokenizer)
            limits = RequestLimits(vocab_size, max_tokens, encode, chat.get("turns", 0), commands)
        return cls(generator, content_filter, limits, bundle_digest(bundle), int(time.time()))

    def describe(self) -> dict[str, Any]:
        """Return the fields of /v1/models that depend on the bundle alone."""
        bundle = self.generator.bundle
        return {
            "id": MODEL_ID,
            "object": "model",
            "created": self.loaded_at,
            "owned_by": "tinyedge",
            "bundle": self.digest,
            "model_id": bundle.model_id,
            "precision": bundle.manifest["precision"],
            "context_length": self.generator.config.max_seq_length,
            "template": bundle.template,
            "openings": bundle.manifest.get("openings", {}),
        }
