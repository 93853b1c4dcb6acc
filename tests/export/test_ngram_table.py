"""The n-grams of an export: counted in the training tokens, and in the bundle if they bring something."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs tinyedge[train]")
pytest.importorskip("onnx", reason="export needs tinyedge[train]")

from tinyedge.bundle.bundle import load_bundle
from tinyedge.cli.export import export
from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.core.config import MODEL_RANGES
from tinyedge.core.errors import ExportError, UsageError
from tinyedge.core.files import sha256_file, write_json
from tinyedge.export import ngram_table, pipeline
from tinyedge.export.ngram_table import build_table, measure_table, read_training_tokens, require_size
from tinyedge.export.pipeline import ExportOptions, export_bundle
from tinyedge.ngram import DEFAULT_NGRAM_MB
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.weights import predict_tokens
from tinyedge.runtime.bundle_model import BundleModel
from tinyedge.runtime.generator import Generator
from tinyedge.text.evaluate import Passage, negative_log_likelihood, read_passages
from tinyedge.text.shards import Shards, TokenFile
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.text.window_sample import WindowSample, draw_sample, sample_windows
from tinyedge.train.storage import checkpoint

LIMIT = 500
LANGUAGES = ("en", "es")


def ignore_report(line: str) -> None:
    """A `report` callback that does nothing."""


@pytest.fixture
def complete_run(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExportOptions:
    """Options for a run with its token files, whose training text is the model's."""
    monkeypatch.setattr(pipeline, "choose_token_limit", lambda parameters: LIMIT)
    folder = tmp_path / "run"
    folder.mkdir()
    for file in run.folder.glob("b*"):
        shutil.copy(file, folder)
    tokenizer = Tokenizer((folder / "bilingual_1100.model").read_bytes())
    training = [p for name in LANGUAGES for p in read_passages(run.folder / f"{name}_train.txt", tokenizer)]
    write_shards(
        folder / "shards",
        tokenizer.sha256,
        training,
        {name: list(read_passages(run.texts[name], tokenizer)) for name in LANGUAGES},
    )
    return ExportOptions(folder / run.checkpoint.name, tmp_path / "bundle", ngram_mb=16.0)


def write_shards(
    folder: Path, tokenizer_sha256: str, training: list[Passage], held_out: dict[str, list[Passage]]
) -> None:
    folder.mkdir()
    parts = {"train": training, "validation": [p for passages in held_out.values() for p in passages]}
    for name, passages in parts.items():
        tokens = np.concatenate([passage.tokens for passage in passages])
        tokens.astype("<u2").tofile(folder / f"{name}.bin")
    entries, start = [], 0
    for name, passages in held_out.items():
        for passage in passages:
            size = len(passage.tokens)
            entry = {"language": name, "start": start, "tokens": size, "bytes": passage.bytes}
            entries.append({**entry, "unknown_bytes": passage.unknown_bytes})
            start += size
    index: dict[str, Any] = {"corpus_sha256": "", "tokenizer_sha256": tokenizer_sha256}
    index |= {"held_out": "documents", "train_bytes": 1, "validation": entries}
    index["train_tokens"] = (folder / "train.bin").stat().st_size // 2
    index |= {f"{name}_sha256": sha256_file(folder / f"{name}.bin") for name in parts}
    write_json(folder / "shards.json", {"schema": "tinyedge.shards/1", **index})


def find_line(lines: list[str]) -> str:
    (line,) = (line for line in lines if " n-grams: " in line)
    return line


def test_the_bundle_has_a_table_and_both_figures(complete_run: ExportOptions) -> None:
    lines: list[str] = []
    folder = export_bundle(complete_run, lines.append)
    bundle = load_bundle(folder, all_hashes=True)
    assert bundle.ngrams is not None
    assert bundle.ngrams.layout.order == 4
    assert any(bundle.ngrams.weights)
    quality = bundle.manifest["quality"]
    assert list(quality) == list(LANGUAGES)
    for name, row in quality.items():
        mixed = row["mixed_bits_per_byte"]
        assert mixed < row["bits_per_byte"]
        assert f"{name} {row['bits_per_byte']:.4f} to {mixed:.4f} bits per byte" in find_line(lines)
        assert f" {mixed:.4f} |" in bundle.card.decode()
    training = Shards.load(complete_run.checkpoint.parent / "shards").train_tokens
    assert f" of {training:,} training tokens" in find_line(lines)


def test_the_figure_is_that_of_the_loaded_bundle(complete_run: ExportOptions, run: Any) -> None:
    generator = Generator.load(export_bundle(complete_run, ignore_report))
    model = BundleModel(generator.session)
    for name, row in generator.bundle.manifest["quality"].items():
        passages = list(read_passages(run.texts[name], generator.tokenizer))
        nats = size = 0.0
        for window, window_bytes, _ in sample_windows(passages, model.context, LIMIT):
            logits = model.logits(window.inputs, window.first)
            nats += float(negative_log_likelihood(logits, window.targets).sum())
            size += window_bytes
        assert row["mixed_bits_per_byte"] == pytest.approx(nats / np.log(2) / size, rel=1e-5)


def test_the_model_is_the_same_with_and_without_ngrams(complete_run: ExportOptions, tmp_path: Path) -> None:
    mixed = load_bundle(export_bundle(complete_run, ignore_report))
    options = dataclasses.replace(complete_run, output_dir=tmp_path / "alone", ngram_mb=0.0)
    lines: list[str] = []
    alone = load_bundle(export_bundle(options, lines.append))
    assert alone.ngrams is None
    assert find_line(lines).endswith(" n-grams: none, as --ngram-mb 0 asks")
    assert "with n-grams" not in alone.card.decode()
    assert alone.model == mixed.model
    quality = {name: dict(row) for name, row in mixed.manifest["quality"].items()}
    for row in quality.values():
        del row["mixed_bits_per_byte"]
    assert alone.manifest["quality"] == quality


def test_the_same_run_gives_the_same_bytes(complete_run: ExportOptions, tmp_path: Path) -> None:
    again = dataclasses.replace(complete_run, output_dir=tmp_path / "again")
    first, second = (export_bundle(options, ignore_report) for options in (complete_run, again))
    for file in first.iterdir():
        assert (second / file.name).read_bytes() == file.read_bytes()


def test_size_and_order_are_limits(complete_run: ExportOptions) -> None:
    options = dataclasses.replace(complete_run, ngram_mb=0.03, ngram_order=3)
    table = load_bundle(export_bundle(options, ignore_report)).ngrams
    assert table is not None
    assert table.layout.order == 3
    assert 0.02 * 2**20 < len(table.data) <= 0.03 * 2**20
    with pytest.raises(UsageError, match=r"ngram_mb 0\.001 is too small for 1,100 single tokens"):
        export_bundle(dataclasses.replace(complete_run, ngram_mb=0.001), ignore_report)


def test_a_table_that_brings_little_is_left_out(
    complete_run: ExportOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MIN_GAIN_PERCENT", 99.0)
    lines: list[str] = []
    bundle = load_bundle(export_bundle(complete_run, lines.append))
    assert bundle.ngrams is None
    assert not any("mixed_bits_per_byte" in row for row in bundle.manifest["quality"].values())
    assert ", less than 99.0%: en " in find_line(lines)


def test_a_table_is_made_unless_it_is_refused(complete_run: ExportOptions, tmp_path: Path) -> None:
    asked = load_bundle(export_bundle(complete_run, ignore_report))
    options = dataclasses.replace(complete_run, output_dir=tmp_path / "default", ngram_mb=None)
    default = load_bundle(export_bundle(options, ignore_report))
    assert asked.ngrams is not None
    assert default.ngrams is not None
    assert default.ngrams.root == asked.ngrams.root
    assert default.manifest["quality"] == asked.manifest["quality"]


def test_the_default_size_is_enough_for_every_vocabulary() -> None:
    require_size(DEFAULT_NGRAM_MB, MODEL_RANGES["vocab_size"][1], 4)


def test_text_of_the_user_is_measured_and_weights_are_chosen_on_that_of_the_run(
    complete_run: ExportOptions, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, Any]] = []

    def record(trie: Any, model: Any, held_out: Any, samples: Any) -> Any:
        seen.append((held_out, samples))
        return measure_table(trie, model, held_out, samples)

    monkeypatch.setattr(pipeline, "measure_table", record)
    export_bundle(complete_run, ignore_report)
    other = {"mine": run.texts["es"]}
    options = dataclasses.replace(complete_run, text=other, output_dir=tmp_path / "other")
    manifest = load_bundle(export_bundle(options, ignore_report)).manifest
    (held_out, samples), (held_out_again, mine) = seen
    assert held_out is samples  # drawn once
    assert list(manifest["quality"]) == list(mine) == ["mine"]
    assert list(held_out_again) == list(LANGUAGES)
    for name in LANGUAGES:
        again, before = (
            [window.inputs.tobytes() for window, _, _ in sampled[name].others]
            for sampled in (held_out_again, held_out)
        )
        assert again == before != []


@pytest.mark.parametrize("ngram_mb", [None, 16.0])
def test_a_model_of_pairs_gets_a_table_only_if_asked(
    complete_run: ExportOptions, ngram_mb: float | None
) -> None:
    parts = checkpoint.load(complete_run.checkpoint)
    parts["config"]["summary"]["chat"] = {"template": "turns/1", "turns": 2}
    checkpoint.save(complete_run.checkpoint, parts)
    lines: list[str] = []
    options = dataclasses.replace(complete_run, ngram_mb=ngram_mb)
    bundle = load_bundle(export_bundle(options, lines.append))
    assert bundle.template == "turns/1"
    assert (bundle.ngrams is not None) == (ngram_mb is not None)
    if ngram_mb is None:
        assert "n-grams: none, as the model is one of pairs; --ngram-mb 16 adds them" in find_line(lines)


def test_without_training_tokens_a_table_is_an_error_only_if_asked_for(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "choose_token_limit", lambda parameters: LIMIT)
    options = ExportOptions(run.checkpoint, tmp_path / "bundle", text=run.texts)
    lines: list[str] = []
    assert load_bundle(export_bundle(options, lines.append)).ngrams is None
    assert find_line(lines).endswith(f"n-grams: none, as there is no {run.folder / 'shards'}")
    with pytest.raises(ExportError, match="the n-grams of --ngram-mb have no training tokens: there is no"):
        export_bundle(dataclasses.replace(options, ngram_mb=16.0), ignore_report)


def test_damaged_token_files_do_not_matter_where_they_are_not_needed(
    complete_run: ExportOptions, run: Any
) -> None:
    (complete_run.checkpoint.parent / "shards" / "train.bin").write_bytes(b"half")
    options = dataclasses.replace(complete_run, text=run.texts)
    with pytest.raises(ExportError, match=r"train\.bin has 4 bytes"):
        export_bundle(options, ignore_report)
    for ngram_mb, reason in ((0.0, "--ngram-mb 0 asks"), (None, "train.bin has 4 bytes")):
        lines: list[str] = []
        changed = dataclasses.replace(options, ngram_mb=ngram_mb)
        assert load_bundle(export_bundle(changed, lines.append)).ngrams is None
        assert reason in find_line(lines)


@pytest.mark.parametrize("change", [{"ngram_mb": -1.0}, {"ngram_mb": 257.0}, {"ngram_order": 5}])
def test_an_option_outside_its_range_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(change))):
        ExportOptions(**change)


def test_the_command_shows_the_file_and_both_figures(
    complete_run: ExportOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    export(complete_run.checkpoint, complete_run.output_dir, ngram_mb=16.0)
    out = capsys.readouterr().out
    assert "ngrams.bin" in out
    assert "with n-grams" in out
    manifest = json.loads((complete_run.output_dir / "manifest.json").read_text())
    assert f"{manifest['quality']['en']['mixed_bits_per_byte']:.4f}" in out


def test_a_portable_export_has_no_table(run: Any, tmp_path: Path) -> None:
    for given in ({"ngram_mb": 8.0}, {"ngram_order": 3}):
        with pytest.raises(UsageError, match="applies to a bundle"):
            export(run.checkpoint, portable=tmp_path / "portable", **given)


class CyclicModel:
    """A model that expects each token to be followed by the next one, more or less."""

    context = 16

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        steps = np.arange(50)[None] - inputs[first:, None].astype(np.int64)
        return (-0.1 * np.abs(steps - 1)).astype(np.float32)


def sample(texts: dict[str, list[Passage]], limit: int) -> dict[str, WindowSample]:
    return {name: draw_sample(passages, CyclicModel.context, limit) for name, passages in texts.items()}


def draw_passage(seed: int, length: int = 4000) -> Passage:
    """Text in which every token has two successors."""
    random = np.random.default_rng(seed)
    tokens = [4]
    while len(tokens) < length:
        tokens.append(4 + (3 * tokens[-1] + int(random.integers(2))) % 46)
    return Passage(np.array(tokens, dtype=np.uint16), 2 * length)


def test_weights_are_chosen_on_other_windows_than_those_that_are_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[set[bytes]] = []

    def record(model: Any, scorer: Any, windows: Any) -> Any:
        listed = list(windows)
        seen.append({window.inputs.tobytes() for window in listed})
        return predict_tokens(model, scorer, listed)

    monkeypatch.setattr(ngram_table, "predict_tokens", record)
    trie = build_table([draw_passage(1).tokens], 50, 3, 1 << 20)
    texts = {"en": [draw_passage(2)]}
    samples = sample(texts, 2200)
    table = measure_table(trie, CyclicModel(), samples, samples)
    chosen, measured = seen
    assert len(chosen) > 50
    assert not chosen & measured
    assert table.choice_tokens >= ngram_table.MIN_CHOICE_TOKENS
    weights = NgramFile(table.content).weights
    assert weights == pytest.approx([round(weight, 2) for weight in weights])
    assert table.gain_percent({"en": 2 * table.bits_per_byte["en"]}) == pytest.approx(50)
    seen.clear()
    samples = sample(texts, 3900)
    measure_table(trie, CyclicModel(), samples, samples)  # too little is left, so all is used
    assert seen[0] >= seen[1]


def test_the_completions_of_pairs_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts that the table predicts and completions that it cannot: it brings nothing."""
    random = np.random.default_rng(5)

    def draw_conversation() -> Passage:
        completion = random.integers(4, 50, 5)
        return Passage(
            np.array([0, 7, 8, 9, 7, 8, 9, 0, *completion, 1], dtype=np.uint16), 10, is_conversation=True
        )

    training = [draw_conversation().tokens for _ in range(300)]
    held_out = {"en": [draw_conversation() for _ in range(300)]}

    class UniformModel(CyclicModel):
        def logits(self, inputs: TokenIds, first: int) -> Logits:
            flat = np.zeros((len(inputs) - first, 50), dtype=np.float32)
            flat[:, :4] = -9
            ends = np.arange(first, len(inputs)) == 12
            flat[ends, 1] = 20
            return flat

    trie = build_table(training, 50, 4, 1 << 20)
    samples = sample(held_out, 400)
    table = measure_table(trie, UniformModel(), samples, samples)
    alone = 5 * np.log2(46) / 10
    assert abs(table.gain_percent({"en": alone})) < ngram_table.MIN_GAIN_PERCENT


def test_a_very_long_text_is_counted_in_parts_of_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "train.bin"
    np.arange(10_000, dtype="<u2").tofile(path)
    (everything,) = read_training_tokens(TokenFile(path))
    assert len(everything) == 10_000
    monkeypatch.setattr(ngram_table, "MAX_COUNTED_TOKENS", 1_000)
    monkeypatch.setattr(ngram_table, "COUNTED_PARTS", 10)
    parts = read_training_tokens(TokenFile(path))
    assert sum(map(len, parts)) == 1_000
    assert (parts[0][0], parts[-1][-1]) == (0, 9_999)
    assert {int(later[0]) - int(part[0]) for part, later in itertools.pairwise(parts)} == {1_100}
