"""The models that the runtimes run, and the request.

In: a bundle of tinyedge and the environments. Out: PeerModels with the bundle's shape and vocabulary, and a
Request. Does not know how the rounds are run.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.peers.environments import Environment, prepare_model_tools, run_command
from bench.peers.rounds import Request
from bench.prompts import make_prompt
from tinyedge.bundle.bundle import Bundle, load_bundle
from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import BenchError
from tinyedge.text.tokenizer import Tokenizer

PROGRAM = Path(__file__).parent / "models.py"
PROMPT_DIVISOR = 4  # a quarter of the context is prompt, the rest is generated
SHAPE_FILE, MADE_FILE = "shape.json", "made.json"


@dataclass(frozen=True)
class PeerModels:
    """The models of the peers."""

    folder: Path
    """Folder of the models."""
    parameters: int | None
    """Number of parameters of each model; None if none could be made."""
    failures: Mapping[str, str]
    """Why a model could not be made, by its name in the folder; the key "" stands for all models."""


def make_random_bundle(folder: Path) -> Bundle:
    """Export random weights in tinyedge's default shape with this checkout."""
    from bench.bundles import train_random_tokenizer, write_random_bundle  # imports torch

    config = ModelConfig()
    return load_bundle(write_random_bundle(folder, config, train_random_tokenizer(config.vocab_size)))


def make_models(
    root: Path, bundle: Bundle, environments: Mapping[str, Environment], failures: Mapping[str, str]
) -> PeerModels:
    """Make the peers' models, or reuse those with this shape and vocabulary.

    A model that cannot be made is not an error: the result has the reason.

    Args:
        root: Folder of all environments.
        bundle: tinyedge's bundle.
        environments: Environments by name of the runtime.
        failures: Why an environment is missing, by name of the runtime.
    """
    folder = root / "models"
    shape = extract_shape(bundle)
    made, described = folder / MADE_FILE, folder / SHAPE_FILE
    if not (made.exists() and json.loads(described.read_text()) == shape):
        if "transformers" not in environments:
            return PeerModels(
                folder, None, {"": f"the models are made with transformers: {failures['transformers']}"}
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        files.write_json(described, shape)
        try:
            paths = [prepare_model_tools(root)]
            if "onnxruntime-genai" in environments:
                paths.append(environments["onnxruntime-genai"].packages)
            command = [environments["transformers"].python, PROGRAM, described, folder]
            run_command(command, PYTHONPATH=":".join(map(str, paths)))
        except BenchError as failure:
            return PeerModels(folder, None, {"": f"its model was not made: {failure.message}"})
    result = json.loads(made.read_text())
    return PeerModels(folder, result["parameters"], result["failures"])


def extract_shape(bundle: Bundle) -> dict[str, Any]:
    """Return what the peers' models share with the bundle: dimensions, special ids, pieces and scores."""
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


def make_request(bundle: Bundle, seconds: float) -> Request:
    """Make a request that fills the context: a quarter is prompt, BOS included, and the rest is generated."""
    context = bundle.config.max_seq_length
    prompt_tokens = context // PROMPT_DIVISOR
    return Request(
        prompt=make_prompt(Tokenizer(bundle.tokenizer), prompt_tokens - 1),
        prompt_tokens=prompt_tokens,
        tokens=context - prompt_tokens,
        context=context,
        bos_id=bundle.manifest["tokenizer"]["bos_id"],
        seconds=seconds,
    )
