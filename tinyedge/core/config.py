"""What a model is: one frozen dataclass that the checkpoint, the bundle and the report all carry.

Knows no file, no torch. Every check names the flag that the user typed.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tinyedge.core.errors import UsageError

# The guide's ranges; every shape inside them trains, exports and runs.
MODEL_RANGES = {
    "vocab_size": (1000, 32000),
    "d_model": (64, 512),
    "nhead": (2, 8),
    "num_layers": (1, 6),
    "dim_feedforward": (128, 1024),
    "max_seq_length": (32, 512),
}
HEAD_MULTIPLE = 8  # ONNX Runtime's GroupQueryAttention takes heads of no other width


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a TinyTransformer; the defaults are the guide's 2,327,552 parameters.

    vocab_size: tokens. d_model: width of the residual stream. nhead: attention heads, a divisor of d_model.
    num_layers: blocks. dim_feedforward: width inside a block. max_seq_length: positions, the context.
    """

    vocab_size: int = 8000
    d_model: int = 128
    nhead: int = 4
    num_layers: int = 2
    dim_feedforward: int = 256
    max_seq_length: int = 128

    def __post_init__(self) -> None:
        for name, (low, high) in MODEL_RANGES.items():
            value = getattr(self, name)
            if type(value) is not int:
                raise UsageError(f"{flag(name)} {value!r} is not a whole number")
            if not low <= value <= high:
                raise UsageError(f"{flag(name)} {value} is outside {low}-{high}")
        if self.d_model % self.nhead:
            fitting = [n for n in range(2, 9) if self.d_model % n == 0]
            fits = f"--nhead can be {', '.join(map(str, fitting))}" if fitting else "no --nhead fits"
            raise UsageError(
                f"--nhead {self.nhead} does not divide --d-model {self.d_model}",
                f"with --d-model {self.d_model}, {fits}",
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.d_model // self.nhead

    @property
    def head_width(self) -> int:
        """How wide a head is in the device's cache, zeros included."""
        return -(-self.head_dim // HEAD_MULTIPLE) * HEAD_MULTIPLE

    @property
    def parameters(self) -> int:
        """How many weights the model has, by the guide's own sum."""
        embeddings = self.vocab_size * self.d_model + self.max_seq_length * self.d_model
        attention = 4 * self.d_model**2
        feedforward = 2 * self.d_model * self.dim_feedforward
        norms = 2 * 2 * self.d_model
        output = self.d_model * self.vocab_size
        return embeddings + self.num_layers * (attention + feedforward + norms) + output

    def to_dict(self) -> dict[str, int]:
        """As a plain mapping, for JSON and checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """From a plain mapping. Unknown or missing keys are errors, so that a typo cannot pass."""
        names = {field.name for field in dataclasses.fields(cls)}
        if set(values) != names:
            odd = sorted(set(values) ^ names)
            raise UsageError(f"model config: unknown or missing fields {', '.join(odd)}")
        return cls(**values)


# Shapes by name. tiny is the guide's. small still answers 20 tokens in 250 ms on the device: modelled 175 ms,
# 244 with the margin for the model's error (docs/scale.md). base is for boards with more.
PRESETS = {
    "tiny": ModelConfig(),
    "small": ModelConfig(d_model=256, num_layers=3, dim_feedforward=512, max_seq_length=256),
    "base": ModelConfig(
        vocab_size=16000, d_model=512, nhead=8, num_layers=6, dim_feedforward=1024, max_seq_length=512
    ),
}


def resolve_shape(preset: str, flags: Mapping[str, int | None]) -> ModelConfig:
    """A preset with the user's flags over it; flags that are None were not given. Raises UsageError."""
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset} is unknown", f"choose one of: {', '.join(PRESETS)}")
    return dataclasses.replace(PRESETS[preset], **{k: v for k, v in flags.items() if v is not None})


def flag(name: str) -> str:
    """The flag that sets a configuration field: `d_model` is `--d-model`."""
    return "--" + name.replace("_", "-")
