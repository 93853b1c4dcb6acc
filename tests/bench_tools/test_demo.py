"""The demo's last screen: 80 columns, one text for each language of the user's own text."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.demo import choose_prompts, format_change, format_summary, read_quality
from tinyedge.bundle.bundle import load_bundle


@pytest.mark.parametrize(
    ("manifest", "prompts"),
    [
        ({"quality": {"en": {}}, "openings": {"en": ["My cat", "The"]}}, {"en": "My cat"}),
        ({"quality": {"en": {}, "es": {}}}, {"en": "My sister", "es": "Mi hermana"}),
        ({"quality": {"de": {}}}, {"de": ""}),
    ],
)
def test_each_measured_text_gets_one_prompt(manifest: dict[str, Any], prompts: dict[str, str]) -> None:
    assert choose_prompts(manifest) == prompts


@pytest.fixture
def bundle(bundle_copy: Any) -> Path:
    folder: Path = bundle_copy()
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    row = {"fp32_bits_per_byte": 1.5, "bits_per_byte": 1.501, "change_percent": 0.1, "kl_nats": 0.001}
    row |= {"top1_agreement": 0.98, "tokens": 10_000, "bytes": 40_000}
    path.write_text(json.dumps(manifest | {"quality": {"en": row, "es": row}}))
    return folder


def make_screen(folder: Path, bundle: Path, samples: list[dict[str, Any]]) -> list[str]:
    (folder / "training_metrics.json").write_text(json.dumps({"elapsed_s": 100.0, "samples": samples}))
    shutil.copy(bundle / "model.onnx", folder / "final_model.pt")
    completions = {name: {"prompt": "My", "text": " cat sleeps all day." * 20} for name in ("en", "es")}
    return format_summary(folder, bundle, completions, "VERDICT", 120).splitlines()


def test_the_last_screen_has_80_columns_and_ends_with_the_verdict(tmp_path: Path, bundle: Path) -> None:
    assert set(load_bundle(bundle).manifest["quality"]) == {"en", "es"}
    samples = [
        {"epoch": epoch, "prompt": prompt, "text": f"{prompt} text {epoch} " + "word " * 60}
        for epoch in range(5)
        for prompt in ("My", "Mi")
    ]
    lines = make_screen(tmp_path, bundle, samples)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24 - 4
    assert lines[-1] == "VERDICT"
    learned = lines[lines.index("it learned to write") + 1 : lines.index("the bundle writes")]
    labels = [line[2:12].strip() for line in learned]
    assert [label for label in labels if label] == [
        "untrained",
        "epoch 1",
        "epoch 4",
    ]  # noise, words, sentences


def test_another_model_in_the_bundle_is_named_by_its_quality(tmp_path: Path, bundle: Path) -> None:
    assert read_quality(tmp_path / "nothing") == {}
    change = format_change(read_quality(bundle), {"en": 1.25})
    assert change == "bits per byte before: en 1.501, es 1.501; now: en 1.250"


def test_a_run_with_one_sample_shows_no_progress(tmp_path: Path, bundle: Path) -> None:
    lines = make_screen(tmp_path, bundle, [{"epoch": 4, "prompt": "My", "text": "My cat"}])
    assert not any("learned" in line for line in lines)
