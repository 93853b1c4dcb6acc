"""Fixtures: a small tokenized corpus, and a trainer that runs an epoch in under a second."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.recording_reporter import RecordingReporter

pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core.config import ModelConfig
from tinyedge.corpus import phrasebook
from tinyedge.corpus.split import draw_split
from tinyedge.text.shards import Shards, build_shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig, train
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.recipe import resolve
from tinyedge.train.trainer import Trainer

DOCUMENTS = 250  # of the phrasebook: about 85 kB, enough for 1,000 pieces


SMALL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus_bilingual.txt"
    documents = itertools.islice(phrasebook.generate_documents(), DOCUMENTS)
    path.write_text("\n".join("\n".join((*d.sentences, "")) for d in documents), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizer(corpus: Path) -> Tokenizer:
    return Tokenizer(train(draw_split(corpus).training_lines(), "corpus", TokenizerConfig(vocab_size=1000)))


@pytest.fixture(scope="session")
def shards(corpus: Path, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return build_shards(draw_split(corpus), tokenizer, tmp_path_factory.mktemp("shards"))


@pytest.fixture
def make_trainer(shards: Shards, tokenizer: Tokenizer) -> Callable[..., tuple[Trainer, RecordingReporter]]:
    def make(folder: Path, recipe: str = "fast", **flags: Any) -> tuple[Trainer, RecordingReporter]:
        reporter = RecordingReporter()
        config = resolve(recipe, {"epochs": 2, "batch_size": 64, **flags})
        hardware = choose_hardware("cpu", "fp32")
        return Trainer(SMALL, config, shards, tokenizer, hardware, folder, reporter), reporter

    return make


@pytest.fixture
def reporter() -> RecordingReporter:
    return RecordingReporter()
