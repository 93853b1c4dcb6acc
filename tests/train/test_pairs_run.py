"""A run on pairs, from the file to a bundle and its answers."""

import dataclasses
import itertools
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import assert_refused, tinyedge
from tests.support.recording_reporter import RecordingReporter

pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.errors import CorpusError, UsageError
from tinyedge.corpus import phrasebook
from tinyedge.corpus.build import CorpusRequest
from tinyedge.text.shards import Shards
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train import pipeline, single_run
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.limits import RunLimits
from tinyedge.train.recipe import SMALL_STEPS, list_unset, resolve
from tinyedge.train.run_request import RunRequest
from tinyedge.train.storage import checkpoint

from .conftest import SMALL

SHAPE = dataclasses.replace(SMALL, max_seq_length=64)


def make_request(folder: Path, pairs: Path, **changes: Any) -> RunRequest:
    request = RunRequest(
        output_dir=folder,
        corpus=CorpusRequest((), (pairs,)),
        tokenizer=TokenizerConfig(vocab_size=1000),
        model=SHAPE,
        training=resolve("fast", {"epochs": 2, "batch_size": 16}),
        flexible=list_unset({}),
        hardware=choose_hardware("cpu", "fp32"),
        limits=RunLimits(),
    )
    return dataclasses.replace(request, **changes)


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_run, "draw_curve", lambda run, path: path.write_bytes(b"drawn"))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of the phrasebook and their successors, with one conversation of two turns."""
    documents = itertools.islice(phrasebook.generate_documents(), 250)
    records: list[dict[str, Any]] = [
        {"prompt": prompt, "completion": completion}
        for document in documents
        for prompt, completion in itertools.pairwise(document.sentences)
    ]
    roles = itertools.cycle(("user", "assistant"))
    turns = [{"role": role, "content": "Yes, of course."} for role in itertools.islice(roles, 4)]
    records.insert(7, {"messages": turns})
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run_folder(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single_run, "draw_curve", lambda run, path: path.write_bytes(b"drawn"))
        pipeline.run(make_request(folder, pairs), RecordingReporter())
    return folder


@pytest.fixture(scope="module")
def bundle(run_folder: Path) -> Path:
    pytest.importorskip("onnx", reason="export needs the extra `train`")
    from tinyedge.export.pipeline import ExportOptions, export_bundle

    checkpoint, folder = run_folder / "best_model.pt", run_folder.parent / "bundle"
    options = ExportOptions(checkpoint, folder, max_quality_loss=100, ngram_mb=16.0)
    return export_bundle(options, lambda line: None)


def test_a_run_records_the_template_and_learns_the_completions(run_folder: Path) -> None:
    shards = Shards.load(run_folder / "shards")
    assert (shards.template, shards.turns, shards.held_out) == ("turns/1", 2, "prompts")
    summary = checkpoint.load(run_folder / "best_model.pt")["config"]["summary"]
    assert summary["chat"] == {"template": "turns/1", "turns": 2}
    metrics = json.loads((run_folder / "training_metrics.json").read_text())
    first, last = metrics["epoch_history"]
    assert last["val_loss"] < first["val_loss"]
    assert metrics["configuration"]["training"].items() >= SMALL_STEPS.items()
    # A sample answers the prompt of a held-out pair, which is the whole prompt of that pair.
    prompts = {sample["prompt"] for sample in metrics["samples"]}
    lines = set((run_folder / "corpus_bilingual.txt").read_text().splitlines())
    assert prompts <= lines


def test_a_run_on_pairs_learns_from_a_teacher(run_folder: Path, pairs: Path, tmp_path: Path) -> None:
    flags = {"epochs": 2, "batch_size": 16, "teachers": 1}
    request = make_request(tmp_path / "taught", pairs, training=resolve("fast", flags))
    assert pipeline.run(request, RecordingReporter()) is not None
    alone, taught, teacher = (
        json.loads((folder / "training_metrics.json").read_text())["final_metrics"]
        for folder in (run_folder, request.output_dir, request.output_dir / "teachers/1")
    )
    assert (teacher["total_epochs"], taught["total_epochs"]) == (1, 2)
    # The target is another one, so its loss is higher, and the model is not that of a run without teacher.
    assert taught["final_train_loss"] > alone["final_train_loss"]
    assert taught["best_val_loss"] != alone["best_val_loss"]


def test_a_stopped_run_on_pairs_ends_with_the_same_weights(
    run_folder: Path, pairs: Path, tmp_path: Path
) -> None:
    reporter = RecordingReporter()

    def stop(progress: Any) -> None:
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    reporter.on_step = stop
    request = make_request(tmp_path / "data", pairs)
    outcome = pipeline.run(request, reporter)
    assert outcome
    assert outcome.signal == signal.SIGTERM
    pipeline.run(dataclasses.replace(request, resume=True), RecordingReporter())
    for name in ("best_model.pt", "final_model.pt"):
        assert (tmp_path / "data" / name).read_bytes() == (run_folder / name).read_bytes()


def test_pairs_longer_than_the_context_are_counted_in_a_warning(pairs: Path, tmp_path: Path) -> None:
    reporter = RecordingReporter()
    short = dataclasses.replace(SHAPE, max_seq_length=32)
    _, shards = pipeline.prepare_data(make_request(tmp_path / "data", pairs, model=short), reporter)
    sizes = [len(passage.tokens) - 1 for passage in shards.validation_passages()]
    held_out = sum(size > 32 for size in sizes)
    assert 0 < held_out < len(sizes)
    (warning,) = [note for note in reporter.notes if "longer than the context of 32 tokens" in note]
    assert f", and {held_out} held-out ones, are left out" in warning


def test_pairs_of_which_none_fits_are_an_error(tmp_path: Path) -> None:
    sentences = [s for d in itertools.islice(phrasebook.generate_documents(), 250) for s in d.sentences]
    groups = (" ".join(sentences[start : start + 10]) for start in range(0, len(sentences) - 10, 10))
    path = tmp_path / "long.jsonl"
    path.write_text("".join(json.dumps({"prompt": t, "completion": t}) + "\n" for t in groups))
    with pytest.raises(CorpusError, match="fits into a context of 64 tokens"):
        pipeline.run(make_request(tmp_path / "data", path), RecordingReporter())


def test_a_stride_of_pairs_is_an_error(run_folder: Path, pairs: Path, tmp_path: Path) -> None:
    training = resolve("fast", {"stride": 16})
    with pytest.raises(UsageError, match="stride applies to text"):
        pipeline.run(make_request(tmp_path / "data", pairs, training=training), RecordingReporter())


def test_a_bundle_records_the_template_and_whole_prompts(bundle: Path, run_folder: Path) -> None:
    loaded = load_bundle(bundle)
    assert loaded.template == "turns/1"
    assert loaded.manifest["chat"] == {"template": "turns/1", "turns": 2}
    openings = [text for texts in loaded.manifest["openings"].values() for text in texts]
    assert openings
    assert set(openings) <= set((run_folder / "corpus_bilingual.txt").read_text().splitlines())


def test_generate_answers_with_the_template_unless_it_is_turned_off(bundle: Path) -> None:
    results = {}
    for flags in ((), ("--chat",), ("--no-chat",)):
        done = tinyedge("generate", bundle, "--prompt", "Hello.", "--temperature", 0, "--json", "-", *flags)
        assert done.returncode == 0, done.stderr
        results[flags] = json.loads(done.stdout)
    assert results[()]["tokens"] == results[("--chat",)]["tokens"]
    assert results[()]["template"] == "turns/1"
    assert results[("--no-chat",)]["template"] is None
    plain, answered = results[("--no-chat",)]["prompt_tokens"], results[()]["prompt_tokens"]
    assert answered == plain + 1  # BOS ends the prompt
    shown = tinyedge("generate", bundle, "--prompt", "Hello.", "--temperature", 0)
    assert shown.stdout == results[()]["text"] + "\n"  # the answer alone


def test_chat_with_a_model_of_plain_text_is_an_error(micro_bundle: Path) -> None:
    error = assert_refused(tinyedge("generate", micro_bundle, "--prompt", "Hi", "--chat"), 2)
    assert "was not trained on pairs" in error


def test_eval_judges_a_checkpoint_and_its_bundle_on_pairs(
    bundle: Path, run_folder: Path, pairs: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("".join(f"{line}\n" for line in pairs.read_text().splitlines()[:30]))
    found = []
    for options in ((bundle, "--no-ngrams"), (run_folder / "best_model.pt",), (bundle,)):
        done = tinyedge("eval", *options, "--pairs", few, "--pairs", f"again={few}", "--json", "-")
        assert done.returncode == 0, done.stderr
        value = json.loads(done.stdout)
        assert value["results"] == []
        first, again = value["pairs"]
        assert (first["name"], again["name"]) == ("few", "again")
        assert {**first, "name": ""} == {**again, "name": ""}
        assert first["n"] + first["too_long"] in (30, 31)  # one conversation has two completions
        assert 0 <= first["exact"] <= 1
        assert len(first["failures"]) == round((1 - first["exact"]) * first["n"])
        found.append(first)
    small, large, mixed = found
    assert small["n"] == large["n"] == mixed["n"]
    assert mixed["bits_per_completion"] < small["bits_per_completion"]  # the model has hardly been trained
    assert small["bits_per_completion"] == pytest.approx(large["bits_per_completion"], rel=0.05)


def test_eval_needs_something_to_judge(micro_bundle: Path, tmp_path: Path) -> None:
    assert "nothing to evaluate on" in assert_refused(tinyedge("eval", micro_bundle), 2)
    text = tmp_path / "a.txt"
    text.write_text("A sentence.\n")
    assert "does not hold pairs" in assert_refused(tinyedge("eval", micro_bundle, "--pairs", text), 1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--skip-tokenizer", "--input", "x.txt"), "--skip-tokenizer has no effect"),
        (("--byte-fallback", "--input", "x.txt"), "--byte-fallback has no effect"),
        ((), "--init-from has no text to go on with"),
        (("--preset", "base", "--input", "x.txt"), "--d-model is 64 there"),
        (("--d-model", 128, "--input", "x.txt"), "--d-model is 64 there, 128 here"),
        (("--vocab-size", 2000, "--input", "x.txt"), "--vocab-size is 1000 there, 2000 here"),
    ],
)
def test_flags_that_contradict_the_initial_model_are_errors(
    run_folder: Path, tmp_path: Path, flags: tuple[object, ...], message: str
) -> None:
    done = tinyedge("train", "--init-from", run_folder, "--output-dir", tmp_path / "new", *flags)
    assert message in assert_refused(done, 2)
    assert not (tmp_path / "new").exists()


def test_replay_needs_a_model_to_go_on_from_and_its_text(run_folder: Path, tmp_path: Path) -> None:
    done = tinyedge("train", "--replay", 1, "--output-dir", tmp_path / "new")
    assert "--replay repeats the text of --init-from" in assert_refused(done, 2)
    for name in ("best_model.pt", "bilingual_1k.model"):
        shutil.copy(run_folder / name, tmp_path)
    flags = ("--input", "x.txt", "--replay", 1, "--output-dir", tmp_path / "new")
    done = tinyedge("train", "--init-from", tmp_path / "best_model.pt", *flags)
    assert "the token files of the run" in assert_refused(done, 2)
