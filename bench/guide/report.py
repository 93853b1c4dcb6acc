"""What the guide quotes of a complete run: its epochs, samples and attention; sizes of vocabularies.

In: the folder of a finished run on the phrasebook, as `make demo` leaves it. Out: `bench/reports/guide.json`,
and the tables between `<!-- guide:NAME -->` and `<!-- end -->` in `docs/guide/`.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench.guide.chapters import ROOT
from tinyedge.core import files
from tinyedge.core.errors import TinyEdgeError
from tinyedge.core.run_files import BEST_FILE
from tinyedge.core.runs import METRICS_FILE, SCHEMA
from tinyedge.corpus.build import CORPUS_NAME
from tinyedge.corpus.split import draw_split
from tinyedge.host.machine import describe_machine
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig, train
from tinyedge.train.model import Block, TinyTransformer
from tinyedge.train.storage.checkpoint import load_model, load_tokenizer

REPORT = ROOT / "bench" / "reports" / "guide.json"
REPORT_SCHEMA = "tinyedge.guide/1"
VOCABULARIES = (1000, 2000, 4000, 8000)
SENTENCE = "My sister lives in London and works in a library."


def record(run_dir: Path) -> dict[str, Any]:
    """Read a finished run, and measure what else the chapters quote.

    Raises:
        TinyEdgeError: The run is not finished.
    """
    metrics = files.read_json(run_dir / METRICS_FILE, SCHEMA, TinyEdgeError)
    if metrics["status"] != "finished":
        raise TinyEdgeError(f"{run_dir} holds no finished run", "run `make demo`")
    trained = load_model(run_dir / BEST_FILE)
    tokenizer = load_tokenizer(run_dir / BEST_FILE, trained)
    return {
        "schema": REPORT_SCHEMA,
        "machine": dataclasses.asdict(describe_machine()),
        "hardware": metrics["configuration"]["hardware"],
        "tinyedge": metrics["tinyedge"],
        "train_tokens": trained.training["train_tokens"],
        "epochs": metrics["epoch_history"],
        "best_epoch": metrics["final_metrics"]["best_epoch"],
        "samples": metrics["samples"],
        "vocabularies": [measure_vocabulary(run_dir, size) for size in VOCABULARIES],
        "attention": measure_attention(trained.model, tokenizer),
    }


def measure_vocabulary(run_dir: Path, size: int) -> dict[str, Any]:
    """Train a vocabulary on the run's training text; count its tokens on the held-out text."""
    split = draw_split(run_dir / CORPUS_NAME)
    tokenizer = Tokenizer(train(split.training_lines(), CORPUS_NAME, TokenizerConfig(size)))
    lines = [line for document in split.documents() for line in document.held_out]
    tokens = sum(len(ids) for ids in tokenizer.encode_lines(lines))
    return {
        "pieces": size,
        "bytes_per_token": sum(len(line.encode()) + 1 for line in lines) / tokens,
        "example": [tokenizer.piece(token).decode() for token in tokenizer.encode("unhappily")],
    }


@torch.no_grad()
def measure_attention(model: TinyTransformer, tokenizer: Tokenizer) -> dict[str, Any]:
    """Compute the attention of the first block's heads on a sentence."""
    tokens = tokenizer.encode_line(SENTENCE)[:-1]
    block = model.blocks[0]
    assert isinstance(block, Block)
    x = model.token_embedding(torch.tensor([tokens])) + model.position_embedding.weight[: len(tokens)]
    query, key, _ = block.attention.heads(x)
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    future = torch.ones(len(tokens), len(tokens), dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -torch.inf).softmax(dim=-1)[0]  # (H, T, T)
    back = [
        [head.diagonal(-distance).mean().item() for distance in range(5)] for head in weights
    ]  # mean weight by distance
    return {
        "pieces": [tokenizer.piece(token).decode().strip() or "BOS" for token in tokens],
        "weights": [[[round(w, 3) for w in row] for row in head] for head in weights.tolist()],
        "by_distance": back,
    }


def make_tables(report: Mapping[str, Any]) -> dict[str, str]:
    """Each quoted text by its name."""
    return {
        "guide:epochs": _epochs_table(report),
        "guide:samples": _samples_table(report),
        "guide:vocabularies": _vocabularies_table(report),
        "guide:attention": _attention_table(report),
    }


def _epochs_table(report: Mapping[str, Any]) -> str:
    lines = [
        "| epoch | learning rate at its end | training loss | held-out loss | bits/byte, English | Spanish |",
        "|---|---|---|---|---|---|",
    ]
    for epoch in report["epochs"]:
        bits = epoch["val_bits_per_byte"]
        lines.append(
            f"| {epoch['epoch']} | {epoch['lr']:.5f} | {epoch['train_loss']:.2f} | {epoch['val_loss']:.2f}"
            f" | {bits['en']:.3f} | {bits['es']:.3f} |"
        )
    return "\n".join([*lines, "", f"{report['train_tokens']:,} tokens an epoch; on {report['hardware']}."])


def _samples_table(report: Mapping[str, Any]) -> str:
    rows = [
        f"| {sample['epoch']} | {sample['prompt']} | {sample['text']} |".replace("\n", " ")
        for sample in report["samples"]
    ]
    return "\n".join(["| after epoch | prompt | text |", "|---|---|---|", *rows])


def _vocabularies_table(report: Mapping[str, Any]) -> str:
    rows = [
        f"| {entry['pieces']:,} | {entry['bytes_per_token']:.2f} | {256 * entry['pieces']:,}"
        f" | {' + '.join(piece.strip() or '␣' for piece in entry['example'])} |"
        for entry in report["vocabularies"]
    ]
    head = ['| pieces | bytes of held-out text per token | weights in the two tables | "unhappily" |']
    return "\n".join([*head, "|---|---|---|---|", *rows])


def _attention_table(report: Mapping[str, Any]) -> str:
    head = ["| head of block 1 | itself | 1 back | 2 back | 3 back | 4 back |", "|---|---|---|---|---|---|"]
    rows = [
        f"| {number} | {' | '.join(f'{100 * share:.0f}%' for share in shares)} |"
        for number, shares in enumerate(report["attention"]["by_distance"], 1)
    ]
    return "\n".join([*head, *rows])


def load_report() -> dict[str, Any]:
    """Read the recorded report."""
    report: dict[str, Any] = json.loads(REPORT.read_text())
    return report
