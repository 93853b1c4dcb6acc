"""Writes tensors as a `.safetensors` file: the length of a JSON header, the header, the values.

The format is https://github.com/huggingface/safetensors#format; such a file has no code.
"""

import json
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

ALIGNMENT = 8  # bytes; the header is padded with spaces so that the values begin at a multiple


def serialize_safetensors(tensors: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """Serialize tensors; the same tensors give the same bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # transformers rejects a file without it
    parts: list[bytes] = []
    end = 0
    for name, value in sorted(tensors.items()):
        data = value.astype("<f4").tobytes()
        start, end = end, end + len(data)
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [start, end]}
        parts.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + b"".join(parts)
