"""The self-test of a bundle: a valid bundle passes, and any failure becomes an error message."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tinyedge.core.errors import BundleError
from tinyedge.runtime import self_test


def test_a_valid_bundle(micro_bundle: Path) -> None:
    self_test.run(micro_bundle)
    assert self_test.check(micro_bundle)


def test_a_damaged_bundle(bundle_copy: Callable[[], Path]) -> None:
    folder = bundle_copy()
    (folder / "model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"failed its self-test: .*model\.onnx has 1 bytes"):
        self_test.run(folder)


def test_only_the_word_of_the_child_passes_the_test(
    micro_bundle: Path, bundle_copy: Callable[[], Path], ignored_sigchld: None
) -> None:
    """In a process that ignores SIGCHLD, every child seems to end with exit status 0."""
    self_test.run(micro_bundle)
    folder = bundle_copy()
    (folder / "model.onnx").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"failed its self-test: .*model\.onnx has 1 bytes"):
        self_test.run(folder)


def test_a_model_whose_logits_are_not_finite(micro_bundle_fp32: Path, tmp_path: Path) -> None:
    """Its hashes match the manifest, but its weights are NaN."""
    import numpy as np

    model = (micro_bundle_fp32 / "model.onnx").read_bytes()
    weights = np.frombuffer(model, dtype=np.uint8).copy()
    begin = len(weights) // 2  # in the middle of the largest tensor, whatever its alignment
    weights[begin : begin + 4096] = 0xFF
    folder = tmp_path / "bundle"
    folder.mkdir()
    for file in micro_bundle_fp32.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.onnx").write_bytes(weights.tobytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.onnx"]["sha256"] = hashlib.sha256(weights.tobytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="computed logits that are not finite"):
        self_test.run(folder)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "died with SIGILL"),
        ("import time; time.sleep(60)", "no text after 0.5 s"),
        ("import sys; sys.exit('no such thing')", "no such thing"),
        ("import sys; sys.exit(1)", "no reason given"),
        ("pass", "no reason given"),
    ],
)
def test_a_process_that_dies_or_hangs(
    micro_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(BundleError, match=reason):
        self_test.run(micro_bundle, timeout_s=0.5 if "sleep" in code else 60)
