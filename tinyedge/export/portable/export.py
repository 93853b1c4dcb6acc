"""Exports a checkpoint as a folder for Hugging Face's tools and onnxruntime-genai, in four steps.

In: a checkpoint and its tokenizer. Out: the folder; if a step fails, nothing is written.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinyedge.bundle.folder_swap import create_staging_folder, swap_folders
from tinyedge.core import files
from tinyedge.core.errors import ExportError
from tinyedge.export.onnx_model import check_onnx
from tinyedge.export.parity import Parity, check_parity
from tinyedge.export.portable.decoder import PortableDecoder
from tinyedge.export.portable.graph import build_portable_graph
from tinyedge.export.portable.model_card import render_portable_card
from tinyedge.export.portable.opt_layout import (
    build_genai_config,
    build_generation_config,
    build_opt_config,
    convert_to_opt,
)
from tinyedge.export.portable.safetensors import serialize_safetensors
from tinyedge.export.portable.tokenizer import (
    build_genai_tokenizer_config,
    build_special_tokens_map,
    build_tokenizer_config,
    build_tokenizer_json,
    parse_vocabulary,
)
from tinyedge.text.tokenizer import model_name
from tinyedge.train.model_id import compute_model_id
from tinyedge.train.storage.checkpoint import load_model, load_tokenizer

MODEL_FILE = "onnx/model.onnx"  # where Optimum and transformers.js expect it
MARKER_FILE = "genai_config.json"  # a folder with this file and no unknown file may be replaced
TOP_FILES = frozenset(
    {
        "README.md",
        "config.json",
        "generation_config.json",
        "genai_config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer_module.json",
    }
)


def export_portable(
    checkpoint: Path,
    folder: Path,
    tokenizer: Path | None,
    report: Callable[[str], None],
    nhead: int | None = None,
) -> tuple[str, Parity]:
    """Export a folder, completely or not at all.

    Args:
        checkpoint: File that `tinyedge train` wrote.
        folder: An older portable model there is replaced.
        tokenizer: The tokenizer file; by default the one in the checkpoint's folder.
        report: Called with a line of text after each step.
        nhead: Attention heads of a plain torch.save checkpoint that does not record them.

    Returns:
        The id of the model, and the comparison of the graph with torch.

    Raises:
        CheckpointError: The checkpoint cannot be read.
        TokenizerError: The tokenizer cannot be read.
        ExportError: The graph differs from the model, or the folder cannot be written.
    """
    require_replaceable(folder)  # before the work
    trained = load_model(checkpoint, nhead)
    config = trained.config
    loaded_tokenizer = load_tokenizer(checkpoint, trained, tokenizer)
    vocabulary = parse_vocabulary(
        (tokenizer or checkpoint.parent / model_name(config.vocab_size)).read_bytes()
    )
    model_id = compute_model_id(trained.model.state_dict(), config, loaded_tokenizer.sha256)
    report(f"1/4 checkpoint: {checkpoint}, model {model_id}, {config.parameters:,} parameters")

    tensors = convert_to_opt(trained.model)
    graph = build_portable_graph(tensors, config)
    report(f"2/4 to ONNX: {len(graph):,} bytes, {check_onnx(graph)} standard nodes, valid")

    parity = check_parity(
        trained.model, PortableDecoder(graph, config), "the portable graph", loaded_tokenizer
    )
    report(
        f"3/4 parity: logits within {parity.max_abs_logit_difference:.1e} of torch's over"
        f" {parity.positions:,} positions, {parity.tokens_compared:,} greedy tokens equal"
    )

    content = {
        MODEL_FILE: graph,
        "model.safetensors": serialize_safetensors(tensors),
        "README.md": render_portable_card(config, parity, model_id).encode(),
        "config.json": _to_json(build_opt_config(config) | {"tinyedge_model_id": model_id}),
        "generation_config.json": _to_json(build_generation_config(config)),
        "genai_config.json": _to_json(build_genai_config(config, MODEL_FILE)),
        "tokenizer.json": _to_json(build_tokenizer_json(vocabulary)),
        "tokenizer_config.json": _to_json(build_tokenizer_config(vocabulary, config)),
        "special_tokens_map.json": _to_json(build_special_tokens_map(vocabulary)),
        "tokenizer_module.json": _to_json(build_genai_tokenizer_config()),
    }
    write_folder(folder, content)
    report(f"4/4 portable model: {folder}")
    return model_id, parity


def require_replaceable(folder: Path) -> None:
    """Raise ExportError unless `folder` is new, empty, or an older portable model."""
    hint = "choose another --portable, or remove it first"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ExportError(f"{folder} exists and is not a folder", hint)
    names = {part.name for part in folder.iterdir()} if folder.exists() else set()
    inner = folder / Path(MODEL_FILE).parent
    names |= {f"{inner.name}/{part.name}" for part in inner.iterdir()} if inner.is_dir() else set()
    foreign = sorted(names - TOP_FILES - {inner.name, MODEL_FILE})
    readme = folder / "README.md"
    is_ours = readme.is_file() and b"tinyedge" in readme.read_bytes()  # onnxruntime-genai has that file too
    if foreign or (names and (MARKER_FILE not in names or not is_ours)):
        raise ExportError(
            f"{folder} exists and is not a portable model: it has {(foreign or sorted(names))[0]!r}", hint
        )


def write_folder(folder: Path, content: Mapping[str, bytes]) -> None:
    """Write the folder completely or not at all; an older one is replaced. Raises ExportError."""
    staged: Path | None = None
    try:
        require_replaceable(folder)
        target = folder.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        own_files = "|".join(map(re.escape, (*TOP_FILES, MODEL_FILE)))
        staged = create_staging_folder(target, own_files)
        for name, data in content.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            files.write_bytes(staged / name, data)
        swap_folders(staged, target)
        files.sync_folder(target.parent)
    except (OSError, ValueError) as failure:  # ValueError: a NUL in the path
        raise ExportError(f"{folder} cannot be written: {failure}", "check free space and rights") from None
    finally:
        if staged:
            shutil.rmtree(staged, ignore_errors=True)


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
