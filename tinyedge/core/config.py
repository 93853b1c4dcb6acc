"""The shape of a model: one frozen dataclass that the checkpoint, the bundle and the report all contain.

Does not know files or torch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyedge.core.errors import UsageError
from tinyedge.core.settings import check_settings, get_ranges, require_choice, setting

HEAD_MULTIPLE = 8  # ONNX Runtime's GroupQueryAttention accepts only heads whose width is a multiple of it
HEADS = range(2, 9)
TURNS_TEMPLATE = "turns/1"  # of models trained on pairs; `tinyedge.text.turns` describes it


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a TinyTransformer; the defaults are the guide's 2,327,552 parameters.

    The ranges are the guide's; every shape inside them trains, exports and runs.

    Raises:
        UsageError: A value is outside its range, or `nhead` does not divide `d_model`.
    """

    vocab_size: int = setting(
        8000, low=1000, high=32000, section="Model", help="Number of pieces of the tokenizer."
    )
    """Number of tokens."""
    d_model: int = setting(128, low=64, high=512, section="Model", help="Width of the model.")
    """Width of the residual stream."""
    nhead: int = setting(
        4, low=HEADS[0], high=HEADS[-1], section="Model", help="Attention heads; must divide d-model."
    )
    """Attention heads, a divisor of `d_model`."""
    num_layers: int = setting(2, low=1, high=6, section="Model", help="Number of transformer blocks.")
    """Number of transformer blocks."""
    dim_feedforward: int = setting(
        256, low=128, high=1024, section="Model", help="Width of the feed-forward layer in a block."
    )
    """Width of the feed-forward layer in a block."""
    max_seq_length: int = setting(128, low=32, high=512, section="Model", help="Context length, in tokens.")
    """Number of positions: the context length, in tokens."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.d_model % self.nhead:
            divisors = [n for n in HEADS if self.d_model % n == 0]
            fits = f"nhead can be {', '.join(map(str, divisors))}" if divisors else "no nhead fits"
            raise UsageError(
                f"nhead {self.nhead} does not divide d_model {self.d_model}",
                f"with d_model {self.d_model}, {fits}",
                ("nhead", "d_model"),
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.nhead

    @property
    def head_width(self) -> int:
        """Width of a head in the device's cache, zero padding included."""
        return -(-self.head_dim // HEAD_MULTIPLE) * HEAD_MULTIPLE

    @property
    def parameters(self) -> int:
        """Number of weights, as the guide counts them."""
        embeddings = self.vocab_size * self.d_model + self.max_seq_length * self.d_model
        output = self.d_model * self.vocab_size
        return embeddings + self.block_parameters + output

    @property
    def block_parameters(self) -> int:
        """Weights of the blocks: all but embeddings and output, whose number depends on the vocabulary."""
        attention = 4 * self.d_model**2
        feedforward = 2 * self.d_model * self.dim_feedforward
        norms = 2 * 2 * self.d_model
        return self.num_layers * (attention + feedforward + norms)

    def to_dict(self) -> dict[str, int]:
        """Return the fields as a plain mapping, for JSON and checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Create a configuration from a plain mapping.

        Raises:
            UsageError: A key is unknown or missing, or a value is invalid.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if set(values) != names:
            unexpected = sorted(set(values) ^ names)
            raise UsageError(f"model config: unknown or missing fields {', '.join(unexpected)}")
        return cls(**values)


MODEL_RANGES = get_ranges(ModelConfig)

# Shapes by name. tiny is the guide's. On the device, small uses half of 250 ms for 20 tokens, and base nearly
# all of it, the margin for the estimate's error included (docs/scale.md).
PRESETS = {
    "tiny": ModelConfig(),
    "small": ModelConfig(d_model=256, num_layers=3, dim_feedforward=512, max_seq_length=256),
    "base": ModelConfig(d_model=320, nhead=8, num_layers=4, dim_feedforward=640, max_seq_length=256),
}


def resolve_shape(preset: str, values: Mapping[str, int | None]) -> ModelConfig:
    """Return a preset with the user's values in place of its own.

    Args:
        preset: A key of PRESETS.
        values: Fields of ModelConfig by name; None keeps the preset's value.

    Raises:
        UsageError: The preset is unknown, or a value is invalid.
    """
    require_choice("preset", preset, tuple(PRESETS))
    given = {name: value for name, value in values.items() if value is not None}
    return dataclasses.replace(PRESETS[preset], **given)
