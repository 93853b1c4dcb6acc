"""The checklist of a valid bundle, and of bundles with one fault each."""

import copy
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.ngram_bundle import write_ngram_bundle
from tinyedge.bundle.bundle import load_bundle, write_bundle
from tinyedge.check import budget, checklist
from tinyedge.check.checklist import Checklist, CheckOptions, run_checklist
from tinyedge.check.item import BUDGETS, ChecklistItem, combine_marks, make_item
from tinyedge.check.render import render_markdown, render_text
from tinyedge.core.errors import CheckpointError, CorpusError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.ngram.counts import count_ngrams
from tinyedge.ngram.estimate import estimate
from tinyedge.ngram.write import encode_table
from tinyedge.runtime.generator import Generator
from tinyedge.text.evaluate import read_passages
from tinyedge.text.tokenizer import Tokenizer, model_name

BEST = b"the best weights"
FIELDS = ("schema", "created", "tinyedge", "files")
CARD = """# A model

163,072 parameters, int8, made for `pi-zero-2w`.

## Results

Held out: 1.2345 bits per byte.

## Requirements

400 MB of memory, 512 MB at
the peak, 250 ms a response.

## Known limits

It completes text in the manner of what it was trained on, and knows nothing. It may repeat what is
offensive in its training text. Do not rely on what it says.
"""
METRICS: dict[str, Any] = {
    "schema": "tinyedge.training/1",
    "tinyedge": "0.1.0",
    "run_id": "a",
    "start_timestamp": "2026-01-01T00:00:00+00:00",
    "end_timestamp": "2026-01-01T00:01:00+00:00",
    "status": "finished",
    "configuration": {
        "vocab_size": 1000,
        "batch_size": 8,
        "learning_rate": 0.01,
        "num_epochs": 1,
        "max_seq_length": 32,
        "model": {},  # filled in below
        "training": {"seed": 0},
    },
    "final_metrics": {
        "best_val_loss": 2.0,
        "final_train_loss": 1.5,
        "final_val_loss": 2,
        "total_epochs": 1,
    },
    "tokens_per_second": 100.0,
    "epoch_history": [
        {
            "epoch": 1,
            "train_loss": 1.5,
            "val_loss": 2.0,
            "lr": 0.01,
            "val_bits_per_byte": {"all": 1.2},
            "elapsed_s": 60.0,
        }
    ],
}


@pytest.fixture(autouse=True)
def _no_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench is measured once, below; elsewhere it only costs time."""
    line = ChecklistItem(BUDGETS, "steady memory", "60 MB")
    monkeypatch.setattr(checklist, "check_budget", lambda bundle: ([line], [{"name": "rss"}]))


@pytest.fixture
def make_bundle(micro_bundle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Rebuild the micro bundle with quality figures, a source checkpoint, another card or tokenizer."""

    def make(card: str = CARD, tokenizer: bytes | None = None, **changes: Any) -> Path:
        whole = load_bundle(micro_bundle)
        manifest = copy.deepcopy({k: v for k, v in whole.manifest.items() if k not in FIELDS})
        figures = {"fp32_bits_per_byte": 1.2, "bits_per_byte": 1.23452, "change_percent": 0.1}
        figures |= {"kl_nats": 0.1, "top1_agreement": 0.9, "tokens": 10, "bytes": 30}
        manifest["quality"] = {"en": figures}
        manifest["training"]["checkpoint_sha256"] = hashlib.sha256(BEST).hexdigest()
        vocabulary = tokenizer or whole.tokenizer
        manifest["tokenizer"]["sha256"] = hashlib.sha256(vocabulary).hexdigest()
        return write_bundle(tmp_path / "bundle", manifest | changes, whole.model, vocabulary, card)

    return make


@pytest.fixture
def own_text(micro_bundle: Path, tmp_path: Path) -> Path:
    """Text that the model itself wrote, which it predicts best; with top-p it would be repetitive."""
    generator = Generator.load(micro_bundle)
    settings = [SamplingConfig(seed=seed, top_p=1.0) for seed in range(60)]
    lines = [generator.generate("", max_tokens=60, sampling=each).text for each in settings]
    path = tmp_path / "own.txt"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@pytest.fixture
def run_dir(micro_bundle: Path, own_text: Path, tmp_path: Path) -> Path:
    """A training run's folder with the files that the checklist reads."""
    whole = load_bundle(micro_bundle)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "best_model.pt").write_bytes(BEST)
    (folder / "final_model.pt").write_bytes(bytes(4 * whole.config.parameters + 2000))
    (folder / model_name(1000)).write_bytes(whole.tokenizer)
    metrics = copy.deepcopy(METRICS)
    metrics["configuration"]["model"] = whole.config.to_dict()
    (folder / "training_metrics.json").write_text(json.dumps(metrics))
    (folder / "corpus_bilingual.txt").write_bytes(own_text.read_bytes())
    return folder


def marks_by_name(found: Checklist) -> dict[str, str]:
    return {line.name: line.mark for line in found.items}


def find_item(beginning: str, found: Checklist) -> ChecklistItem:
    (line,) = (line for line in found.items if line.name.startswith(beginning))
    return line


def test_a_bundle_with_everything(make_bundle: Callable[..., Path], run_dir: Path, own_text: Path) -> None:
    options = CheckOptions(
        make_bundle(),
        run_dir=run_dir,
        texts={"own": own_text},
        max_loss=9.0,
        read_checkpoint=lambda path: 163072,
    )
    found = run_checklist(options)
    crossed = [(line.name, line.found) for line in found.items if line.mark != "pass"]
    # The model has 1,000 pieces and writes parts of words; all of them are in its corpus, which it wrote.
    assert [name for name, _ in crossed] in ([], ["samples have no loops or broken characters"]), crossed
    assert len(found.items) == 18 + 1 - 2  # the bench's three are one here, and the loss has a line
    assert "order-2 bytes" in find_item("text is predicted", found).found
    assert "bundle is made from best_model.pt" in find_item("best_model.pt", found).found
    assert [line.section for line in found.items] == sorted(
        (line.section for line in found.items),
        key=["Model validation", BUDGETS, "Artifact verification", "Code quality", "Documentation"].index,
    )


def test_a_bundle_with_ngrams_says_what_they_bring(
    make_bundle: Callable[..., Path], own_text: Path, tmp_path: Path
) -> None:
    tokenizer = Tokenizer(load_bundle(make_bundle()).tokenizer)
    training = [passage.tokens for passage in read_passages(own_text, tokenizer)]
    ngrams = encode_table(estimate(count_ngrams(training, 1000)), (0.5, 0.5, 0.5, 0.5))
    bundle = write_ngram_bundle(make_bundle(), tmp_path / "mixed", ngrams)
    found = run_checklist(CheckOptions(bundle, default_run=tmp_path / "none", texts={"own": own_text}))
    (text,) = found.texts
    assert text.bits_per_byte < text.model_bits_per_byte
    alone = run_checklist(CheckOptions(make_bundle(), default_run=tmp_path / "none", texts={"own": own_text}))
    assert alone.texts[0].bits_per_byte == alone.texts[0].model_bits_per_byte == text.model_bits_per_byte
    assert set(text.baselines) - set(alone.texts[0].baselines) == {"n-grams alone"}
    sentence = find_item("text is predicted", found).found
    assert (
        f"own {text.bits_per_byte:.3f} bits per byte ({text.model_bits_per_byte:.3f} without n-grams),"
        f" n-grams alone {text.baselines['n-grams alone']:.3f}" in sentence
    )
    assert "without n-grams" not in find_item("text is predicted", alone).found


def test_a_bundle_without_text_quotes_both_figures(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    plain = load_bundle(make_bundle()).manifest["quality"]["en"]
    bundle = write_ngram_bundle(
        make_bundle(quality={"en": {**plain, "mixed_bits_per_byte": 1.2}}), tmp_path / "mixed"
    )
    found = run_checklist(CheckOptions(bundle, default_run=tmp_path / "none"))
    assert "in the manifest: en 1.235, with n-grams 1.200" in find_item("text is predicted", found).found


def test_a_bundle_alone(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    found = run_checklist(CheckOptions(make_bundle(), default_run=tmp_path / "none"))
    skipped = [line for line in found.items if line.mark == "skipped"]
    assert [line.name for line in skipped] == [
        "text is predicted better than by simple methods",
        "no NaN or Inf in final_model.pt",
        "final_model.pt exists and has its size",
        "best_model.pt exists",
        "training_metrics.json is valid",
    ]
    assert "not measured here; bits per byte in the manifest: en 1.235" in skipped[0].found
    assert found.verdict == "pass"


def test_the_run_is_found_by_its_hash(make_bundle: Callable[..., Path], run_dir: Path) -> None:
    bundle = make_bundle()
    assert (
        marks_by_name(run_checklist(CheckOptions(bundle, default_run=run_dir)))["best_model.pt exists"]
        == "pass"
    )
    checkpoint = CheckOptions(bundle, checkpoint=run_dir / "best_model.pt")
    assert marks_by_name(run_checklist(checkpoint))["best_model.pt exists"] == "pass"
    (run_dir / "best_model.pt").write_bytes(b"of another run")
    assert (
        marks_by_name(run_checklist(CheckOptions(bundle, default_run=run_dir)))["best_model.pt exists"]
        == "skipped"
    )
    named = run_checklist(CheckOptions(bundle, run_dir=run_dir))
    assert "not made from a checkpoint" in find_item("best_model.pt", named).found
    assert named.verdict == "fail"


def delete_field(path: str) -> Callable[[dict[str, Any]], None]:
    def change(metrics: dict[str, Any]) -> None:
        *above, last = path.split(".")
        for name in above:
            metrics = metrics[name][0] if name == "epoch_history" else metrics[name]
        del metrics[last]

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        *[
            (delete_field(path), f"lacks {path}")
            for path in ("run_id", "configuration.batch_size", "final_metrics.best_val_loss")
        ],
        (delete_field("epoch_history.lr"), "lacks epoch_history.lr"),
        (lambda metrics: metrics.update(epoch_history=[]), "epoch_history is not a list, or is empty"),
        (lambda metrics: metrics["final_metrics"].update(total_epochs=True), "total_epochs is True"),
        (lambda metrics: metrics["final_metrics"].update(best_val_loss="low"), "best_val_loss is 'low'"),
        (lambda metrics: metrics.update(configuration=[]), "configuration. is not an object"),
        (lambda metrics: metrics.update(status="running"), "running"),
        (lambda metrics: metrics.update(schema="x/1"), "has schema 'x/1'"),
    ],
)
def test_metrics_that_are_not_the_guides(
    make_bundle: Callable[..., Path], run_dir: Path, change: Callable[[dict[str, Any]], None], expected: str
) -> None:
    file = run_dir / "training_metrics.json"
    metrics = json.loads(file.read_text())
    change(metrics)
    file.write_text(json.dumps(metrics))
    line = find_item("training_metrics.json", run_checklist(CheckOptions(make_bundle(), run_dir=run_dir)))
    assert line.mark == "fail"
    assert expected in line.found


@pytest.mark.parametrize(
    ("damage", "name", "expected"),
    [
        (lambda run: (run / "final_model.pt").unlink(), "final_model.pt", "does not exist"),
        (lambda run: (run / "final_model.pt").write_bytes(b"short"), "final_model.pt", "0.00 MB"),
        (lambda run: (run / "best_model.pt").unlink(), "best_model.pt", "does not exist"),
        (lambda run: (run / model_name(1000)).write_bytes(b"x"), model_name(1000), "another sha256"),
        (lambda run: (run / model_name(1000)).unlink(), model_name(1000), "does not exist"),
        (lambda run: (run / "training_metrics.json").write_text("{"), "training_metrics", "not valid JSON"),
    ],
)
def test_a_damaget_run(
    make_bundle: Callable[..., Path], run_dir: Path, damage: Callable[[Path], None], name: str, expected: str
) -> None:
    damage(run_dir)
    line = find_item(name, run_checklist(CheckOptions(make_bundle(), run_dir=run_dir)))
    assert line.mark == "fail"
    assert expected in line.found


@pytest.mark.parametrize(
    ("cut", "name", "expected"),
    [
        ("1.2345", "README.md has the training results", "lacks en 1.2345"),
        ("512 MB", "README.md has the system requirements", "lacks 512 MB"),
        ("pi-zero-2w", "README.md has the system requirements", "lacks pi-zero-2w"),
        ("163,072", "README.md has the training results", "lacks 163,072 parameters"),
        ("int8", "README.md has the training results", "lacks int8"),
        ("## Results", "README.md has the training results", "no heading of results"),
        ("## Requirements", "README.md has the system requirements", "no heading of use or requirements"),
        ("## Known limits", "README.md has the known limits", "no heading of limits"),
    ],
)
def test_a_card_that_lacks_something(
    make_bundle: Callable[..., Path], cut: str, name: str, expected: str
) -> None:
    line = find_item(name, run_checklist(CheckOptions(make_bundle(CARD.replace(cut, "")))))
    assert line.mark == "fail"
    assert expected in line.found


def test_a_vocabulary_that_does_not_fit_crosses_tokenizer_and_filter(
    make_bundle: Callable[..., Path], greek_vocabulary: bytes
) -> None:
    found = run_checklist(CheckOptions(make_bundle(tokenizer=greek_vocabulary)))
    assert find_item("the tokenizer is compatible", found).mark == "fail"
    assert find_item("safety filter", found).mark == "fail"
    assert found.verdict == "fail"


def test_an_unusable_list_of_words_is_a_line_and_no_error(
    make_bundle: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinyedge.runtime.content_filter.LIST_FILE", tmp_path / "none.txt")
    found = run_checklist(CheckOptions(make_bundle()))
    assert find_item("safety filter", found).mark == "fail"
    assert "none.txt does not exist" in find_item("safety filter", found).found
    assert len(found.samples) == 16


def test_limits_of_one_word_are_none(make_bundle: Callable[..., Path]) -> None:
    card = CARD.partition("## Known")[0] + "## Limits\n\nNone.\n\n## More\n\n" + "words " * 50
    assert find_item("README.md has the known", run_checklist(CheckOptions(make_bundle(card)))).mark == "fail"


def test_text_that_the_model_cannot_read(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.txt"
    foreign.write_text("zzzzzzzzzzzzzzzzzzzzzzzz\n" * 400)
    found = run_checklist(CheckOptions(make_bundle(), texts={"foreign": foreign}, max_loss=0.5))
    assert find_item("text is predicted", found).mark == "fail"
    assert find_item("validation loss", found).mark == "fail"
    assert found.verdict == "fail"
    (tmp_path / "empty.txt").touch()
    with pytest.raises(CorpusError, match="is empty"):
        run_checklist(CheckOptions(make_bundle(), texts={"empty": tmp_path / "empty.txt"}))


def test_unknown_characters_get_no_verdict(make_bundle: Callable[..., Path], tmp_path: Path) -> None:
    """A run of them is one UNK token, which is easy to predict."""
    chinese = tmp_path / "chinese.txt"
    chinese.write_text("吾輩は猫である。名前はまだ無い。どこで生れたか見当がつかぬ。\n" * 200)
    found = run_checklist(CheckOptions(make_bundle(), texts={"zh": chinese}, max_loss=9.0))
    for name in ("text is predicted", "validation loss"):
        item = find_item(name, found)
        assert item.mark == "unsure"
        assert item.found.startswith("no verdict: ")
        assert "of the bytes of zh are UNK" in item.found
    assert found.texts[0].bits_per_byte > 7
    assert found.texts[0].unknown_bytes > 0.9
    assert find_item("the tokenizer is compatible", found).mark == "fail"


def test_a_checkpoint_with_nan(make_bundle: Callable[..., Path], run_dir: Path) -> None:
    def read(path: Path) -> int:
        raise CheckpointError(f"{path} has NaN or infinity in output.weight")

    found = run_checklist(CheckOptions(make_bundle(), run_dir=run_dir, read_checkpoint=read))
    assert find_item("no NaN or Inf in final_model.pt", found).mark == "fail"
    assert "NaN or infinity in output.weight" in find_item("no NaN or Inf in final_model.pt", found).found


def test_weights_with_nan_are_found_in_the_graph(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinyedge.check import bundle_checks

    monkeypatch.setattr(bundle_checks, "find_nonfinite", lambda model: (10, ["output_scale"]))
    line = find_item("no NaN or Inf in model.onnx", run_checklist(CheckOptions(make_bundle())))
    assert (line.mark, line.found) == ("fail", "in output_scale")


def test_verdicts() -> None:
    def combine(*found: str) -> str:
        return combine_marks([ChecklistItem("a", "b", "c", mark) for mark in found])  # type: ignore[arg-type]

    assert combine("pass", "skipped") == "pass"
    assert combine("pass", "unsure", "skipped") == "inconclusive"
    assert combine("unsure", "fail") == "fail"
    assert make_item("a", "b", False, "c").mark == "fail"


def test_the_terminal_and_the_release(make_bundle: Callable[..., Path]) -> None:
    found = run_checklist(CheckOptions(make_bundle(CARD.replace("512 MB", ""))))
    shown, pasted = render_text(found), render_markdown(found)
    assert all(len(line) <= 100 for line in shown.splitlines())
    assert "✗ README.md has the system requirements\n    lacks 512 MB" in shown
    assert shown.endswith("verdict: fail (9 ticked, 1 crossed, 5 left out)")
    assert "- [ ] README.md has the system requirements: lacks 512 MB\n" in pasted
    assert "- [x] safety filter enabled: " in pasted
    assert "(left out)" in pasted
    assert pasted.count("- [x]") == 9
    value = found.to_dict()
    assert value["schema"] == "tinyedge.check/1"
    assert len(value["lines"]) == 15
    assert len(value["samples"]) == 16
    json.dumps(value, allow_nan=False)


def test_the_budget_is_the_benchs(micro_bundle: Path) -> None:
    lines, gates = budget.check_budget(load_bundle(micro_bundle))
    assert [gate["name"] for gate in gates] == ["rss", "peak", "p95"]
    assert gates[0]["measured"] < gates[0]["limit"]
    assert [line.name for line in lines] == [
        "steady memory (RSS + swap) at most 400 MB",
        "peak memory (VmHWM + swap) at most 512 MB",
        "p95 of a response at most 250 ms",
    ]
    assert [line.mark for line in lines[:2]] == ["pass", "pass"]
    assert lines[0].found.endswith("to spare")


def test_the_budget_is_the_one_that_the_manifest_promises(make_bundle: Callable[..., Path]) -> None:
    promised = {"max_rss_mb": 300, "max_peak_mb": 1, "max_p95_ms": 0.5}
    lines, gates = budget.check_budget(load_bundle(make_bundle(budgets=promised)))
    assert [gate["limit"] for gate in gates] == list(promised.values())
    assert [line.name for line in lines] == [
        "steady memory (RSS + swap) at most 300 MB",
        "peak memory (VmHWM + swap) at most 1 MB",
        "p95 of a response at most 0.5 ms",
    ]
    assert [line.mark for line in lines[:2]] == ["pass", "fail"]
    assert lines[2].mark != "pass"


# --- as a process ---


def run_tinyedge(*words: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tinyedge", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=cwd)


def test_the_command(make_bundle: Callable[..., Path], micro_bundle: Path, tmp_path: Path) -> None:
    done = run_tinyedge("check", micro_bundle, "--json", tmp_path / "check.json", cwd=tmp_path)
    assert done.returncode == 3, done.stderr  # the fixture's card says nothing
    assert done.stdout.rstrip().endswith("left out)")
    assert json.loads((tmp_path / "check.json").read_text())["verdict"] == "fail"
    good = run_tinyedge("check", make_bundle(), "--markdown", cwd=tmp_path)
    if "p95 of a response" in "".join(line for line in good.stdout.splitlines() if "- [ ]" in line):
        return  # this machine is too busy to answer in time
    assert good.returncode == 0, good.stdout
    assert good.stdout.startswith("## Deployment checklist: pass\n")


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("--max-loss", "nan"), 2, "--max-loss nan"),
        (("--run-dir", "nowhere"), 2, "--run-dir nowhere is not a folder"),
        (("--text", "novel.txt"), 2, "--text novel.txt is not NAME=FILE"),
        (("--text", "en=novel.txt"), 1, "novel.txt does not exist"),
        (("--checkpoint", "none.pt"), 1, "none.pt does not exist"),
        (("--json", "no/where.json"), 2, "--json no/where.json"),
    ],
)
def test_bad_flags_are_named(
    micro_bundle: Path, words: tuple[str, ...], code: int, expected: str, tmp_path: Path
) -> None:
    done = run_tinyedge("check", micro_bundle, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert expected in line


def test_needs_no_torch(micro_bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import tinyedge.check.render\n"
        "print(sorted({'torch', 'onnx', 'tinyedge.train', 'tinyedge.export', 'typer'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
