"""What the runtimes run: tinyedge's bundle, the peers' models of its shape and vocabulary, and a prompt."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.environments import Environment, prepare_maker, run
from bench.peers.rounds import Request
from bench.prompts import prompt_of
from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import BenchError
from tinyedge.text.tokenizer import Tokenizer

PROGRAM = Path(__file__).parent / "models.py"
PROMPT_SHARE = 4  # a quarter of the context is prompt, the rest is generated
SHAPE_FILE, MADE_FILE = "shape.json", "made.json"


@dataclass(frozen=True)
class Models:
    """The peers' models. failures: why one is missing, by its name in the folder, "" for all of them."""

    folder: Path
    parameters: int | None
    failures: Mapping[str, str]


def invented_bundle(folder: Path) -> Bundle:
    """Random weights in tinyedge's default shape, exported by this checkout."""
    from bench.bundles import invented_pieces, write_invented  # torch

    config = ModelConfig()
    return load_bundle(write_invented(folder, config, invented_pieces(config.vocab_size)))


def make_models(
    root: Path, bundle: Bundle, environments: Mapping[str, Environment], failures: Mapping[str, str]
) -> Models:
    """Has them made, unless they are there for this shape and vocabulary. What cannot be made is no error."""
    folder = root / "models"
    shape = shape_of(bundle)
    made, described = folder / MADE_FILE, folder / SHAPE_FILE
    if not (made.exists() and json.loads(described.read_text()) == shape):
        if "transformers" not in environments:
            return Models(
                folder, None, {"": f"the models are made with transformers: {failures['transformers']}"}
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        files.write_json(described, shape)
        try:
            paths = [prepare_maker(root)]
            if "onnxruntime-genai" in environments:
                paths.append(environments["onnxruntime-genai"].packages)
            command = [environments["transformers"].python, PROGRAM, described, folder]
            run(command, PYTHONPATH=":".join(map(str, paths)))
        except BenchError as failure:
            return Models(folder, None, {"": f"its model was not made: {failure.message}"})
    told = json.loads(made.read_text())
    return Models(folder, told["parameters"], told["failures"])


def shape_of(bundle: Bundle) -> dict[str, Any]:
    """What the peers' models share with the bundle: dimensions, special ids, pieces with their scores."""
    rows = [
        line.split("\t")
        for line in Tokenizer(bundle.tokenizer).vocabulary_table().removesuffix("\n").split("\n")
    ]
    return {
        **bundle.manifest["model"],
        **bundle.manifest["tokenizer"],
        "pieces": [piece for piece, _ in rows],
        "scores": [float(score) for _, score in rows],
    }


def request_for(bundle: Bundle, seconds: float) -> Request:
    """A prompt of a quarter of the context, BOS included, and the rest to generate."""
    context = bundle.config.max_seq_length
    prompt_tokens = context // PROMPT_SHARE
    return Request(
        prompt=prompt_of(Tokenizer(bundle.tokenizer), prompt_tokens - 1),
        prompt_tokens=prompt_tokens,
        tokens=context - prompt_tokens,
        context=context,
        bos_id=bundle.manifest["tokenizer"]["bos_id"],
        seconds=seconds,
    )
