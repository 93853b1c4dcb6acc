"""The id of a trained model: the same for every file that holds the same model.

In: weights, shape, tokenizer. Out: 12 hexadecimal digits. It depends on nothing else, so the checkpoints, the
int8 and fp32 bundles and the portable export of one model share it. A file's own identity is its digest.
"""

import hashlib
import json
from collections.abc import Mapping

from torch import Tensor

from tinyedge.core.config import ModelConfig

DIGITS = 12  # 48 bits: among a million models, the chance that any two share an id is 0.2%


def compute_model_id(weights: Mapping[str, Tensor], config: ModelConfig, tokenizer_sha256: str) -> str:
    """Return the id of a model.

    Args:
        weights: fp32 tensors by the names of TinyTransformer; their order does not matter.
        config: The model's shape.
        tokenizer_sha256: Digest of the bytes of the tokenizer's file.
    """
    names = sorted(weights)
    shapes = {name: list(weights[name].shape) for name in names}
    described = {"model": config.to_dict(), "tokenizer_sha256": tokenizer_sha256, "tensors": shapes}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in names:
        digest.update(weights[name].detach().cpu().numpy().astype("<f4").tobytes())
    return digest.hexdigest()[:DIGITS]
