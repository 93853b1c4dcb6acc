"""A bundle that was trained on one home command until it knows it by heart."""

import json
from pathlib import Path

from tinyedge.corpus.commands.answer import Command

LIGHT_ON = Command("HassTurnOn", {"name": "Bedroom Lamp"})
LIGHT_ON_PROMPT = "light=Bedroom Lamp; turn on the bedroom lamp"


def write_command_bundle(folder: Path, tokenizer_model: bytes) -> Path:
    """Train the model and write its bundle; needs torch.

    Args:
        folder: Where to write it.
        tokenizer_model: A tokenizer that can spell JSON.
    """
    import torch

    from bench.bundles import write_unverified_bundle
    from tinyedge.core.config import ModelConfig
    from tinyedge.export.weights import Weights
    from tinyedge.text.tokenizer import Tokenizer
    from tinyedge.text.turns import encode_turns
    from tinyedge.train.model import TinyTransformer

    config = ModelConfig(
        vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=256
    )
    tokens = torch.tensor([encode_turns(Tokenizer(tokenizer_model), [LIGHT_ON_PROMPT, LIGHT_ON.to_text()])])
    torch.manual_seed(1)
    model = TinyTransformer(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(model(tokens[:, :-1])[0], tokens[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    weights = Weights.from_model(model.eval())
    write_unverified_bundle(folder, model, weights, None, tokenizer_model, "fixture", "# A test fixture\n")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "chat": {"template": "turns/1", "turns": 1}}))
    return folder
