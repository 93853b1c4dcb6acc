"""A small untrained model with its standard graph, and a run: text, tokenizer, a trained model."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest

if TYPE_CHECKING:
    from tinyedge.train.model import TinyTransformer

FloatArray = npt.NDArray[np.float32]
Change = Callable[[bytes, str, Callable[[FloatArray], FloatArray]], bytes]

SMALL = {
    "vocab_size": 1000,
    "d_model": 64,
    "nhead": 4,
    "num_layers": 2,
    "dim_feedforward": 128,
    "max_seq_length": 32,
}


def make_seeded_model(seed: int = 0, **changes: int) -> "TinyTransformer":
    """An untrained model with logits that differ clearly."""
    import torch

    from tinyedge.core.config import ModelConfig
    from tinyedge.train.model import TinyTransformer

    torch.manual_seed(seed)
    model = TinyTransformer(ModelConfig(**{**SMALL, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            # norms too: constant folding must not treat them as ones
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (parameter.dim() == 1))
    return model.eval()


@pytest.fixture(scope="session")
def make_model() -> "Callable[..., TinyTransformer]":
    return make_seeded_model


@pytest.fixture(scope="session")
def model() -> "TinyTransformer":
    return make_seeded_model()


@pytest.fixture(scope="session")
def change_constant() -> Change:
    """A function that replaces the value of a constant in a graph."""
    import onnx

    def change(graph: bytes, name: str, edit: Callable[[FloatArray], FloatArray]) -> bytes:
        parsed = onnx.load_model_from_string(graph)
        tensor = next(tensor for tensor in parsed.graph.initializer if tensor.name == name)
        value = edit(onnx.numpy_helper.to_array(tensor).copy())
        tensor.CopyFrom(onnx.numpy_helper.from_array(value, name))
        return bytes(parsed.SerializeToString())

    return change


@pytest.fixture(scope="session")
def strip_weights() -> Callable[[bytes], bytes]:
    """A function that removes the weights from a file, because their bytes may look like any text."""
    import onnx

    def strip(graph: bytes) -> bytes:
        parsed = onnx.load_model_from_string(graph)
        for tensor in parsed.graph.initializer:
            tensor.ClearField("raw_data")
        return bytes(parsed.SerializeToString())

    return strip


@pytest.fixture(scope="session")
def standard_graph(model: "TinyTransformer") -> bytes:
    pytest.importorskip("onnxscript", reason="torch's ONNX exporter needs it")
    from tests.support.standard_graph import export_standard_graph

    return export_standard_graph(model)


@dataclass(frozen=True)
class Run:
    """The files of `tinyedge train`, and held-out text in two languages."""

    folder: Path
    checkpoint: Path
    texts: dict[str, Path]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, byte_fallback_model: bytes) -> Run:
    import torch
    from torch.nn.functional import cross_entropy

    from tinyedge.text.evaluate import read_passages
    from tinyedge.text.tokenizer import Tokenizer, model_name
    from tinyedge.train.storage import checkpoint

    folder = tmp_path_factory.mktemp("run")
    tokenizer = Tokenizer(byte_fallback_model)
    (folder / model_name(tokenizer.vocab_size)).write_bytes(byte_fallback_model)
    texts = {}
    tokens: list[int] = []
    for seed, language in enumerate(("en", "es")):
        lines = make_chain_lines(seed)
        for name, part in (("train", lines[:1200]), (language, lines[1200:])):
            path = folder / f"{language}_{name}.txt"
            path.write_text("\n".join(part) + "\n", encoding="utf-8")
        texts[language] = folder / f"{language}_{language}.txt"
        for passage in read_passages(folder / f"{language}_train.txt", tokenizer):
            tokens += passage.tokens.tolist()

    trained = make_seeded_model(vocab_size=tokenizer.vocab_size)
    for parameter in trained.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.05)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=5e-3)
    data = torch.tensor(tokens)
    for _ in range(150):
        starts = torch.randint(len(data) - 33, (32,))
        window = torch.stack([data[start : start + 33] for start in starts])
        loss = cross_entropy(trained(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    path = folder / "best_model.pt"
    checkpoint.save(
        path,
        {
            "epoch": 1,
            "model_state_dict": trained.state_dict(),
            "train_loss": loss.item(),
            "val_loss": loss.item(),
            "config": {
                "model": trained.config.to_dict(),
                "tokenizer_sha256": tokenizer.sha256,
                "summary": {"recipe": "test", "epochs": 1, "train_tokens": len(tokens)},
            },
        },
    )
    return Run(folder, path, texts)


def make_chain_lines(seed: int) -> list[str]:
    """Lines in which each word has three possible successors, so that a model learns them in seconds."""
    draw = random.Random(seed)
    words = ["".join(parts) for parts in itertools.product("bdlmrst", "aeio", ("", "n", "s"))]
    after = {word: draw.sample(words, 3) for word in words}
    lines = []
    for _ in range(1500):
        line = [draw.choice(words)]
        while len(line) < 9:
            line.append(draw.choice(after[line[-1]]))
        lines.append(" ".join(line))
    return lines
