"""The choice of the engine, its reason, and what a start without numpy imports."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import onnx
import pytest

from tests.kernels import models, reference_model
from tests.support.engines import STAND_INS, make_package, use_engine, use_package
from tests.support.hostile import change_model, replace_model
from tinyedge.bundle.bundle import load_bundle
from tinyedge.core.engine import KERNELS, ONNXRUNTIME, PACKAGE, VARIABLE, EngineChoice
from tinyedge.core.errors import BundleError, EngineError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime import probe, weights
from tinyedge.runtime.engine import open_session
from tinyedge.runtime.generator import Generator

GREEDY = SamplingConfig(temperature=0)


class RefusedModel:
    def __init__(self, *arguments: object, **named: object) -> None:
        raise reference_model.KernelsError("API 20 is missing")


REFUSED = make_package(Model=RefusedModel)


def load(bundle: Path, package: ModuleType | None, variables: Mapping[str, str]) -> EngineChoice:
    with use_package(package, variables), Generator.load(bundle) as generator:
        return generator.session.engine


def test_installed_kernels_are_used(micro_bundle: Path) -> None:
    expected = EngineChoice(KERNELS, "plain", "tinyedge_kernels is installed")
    assert load(micro_bundle, make_package(), {}) == expected
    assert load(micro_bundle, make_package(), {VARIABLE: ""}) == expected
    assert expected.title == "kernels (plain)"


def test_without_kernels_onnx_runtime_is_used_and_the_reason_is_kept(micro_bundle: Path) -> None:
    assert load(micro_bundle, None, {}) == (ONNXRUNTIME, None, "tinyedge_kernels is not installed")
    refused = load(micro_bundle, REFUSED, {})
    assert refused.title == ONNXRUNTIME
    assert refused.reason == "the kernels cannot use ONNX Runtime: API 20 is missing"


def test_kernels_that_cannot_be_loaded_are_not_an_error(micro_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / f"{PACKAGE}.py").write_text("raise ImportError('version GLIBC_2.99 not found')")
    with patch.object(sys, "path", [str(tmp_path), *sys.path]), use_package(None, {}):
        del sys.modules[PACKAGE]
        engine = Generator.load(micro_bundle).session.engine
    assert engine.reason == "tinyedge_kernels cannot be loaded: version GLIBC_2.99 not found"


@pytest.mark.parametrize("version", [None, "0.0.9"], ids=str)
def test_kernels_of_another_version_are_not_used(
    micro_bundle: Path, tmp_path: Path, version: str | None
) -> None:
    """None: pip leaves a folder behind if a file in it is not its own, and Python imports it."""
    (tmp_path / PACKAGE).mkdir()
    if version:
        (tmp_path / PACKAGE / "__init__.py").write_text(f"__version__ = {version!r}")
    others = [path for path in sys.path if not Path(path, PACKAGE).exists()]
    with patch.object(sys, "path", [str(tmp_path), *others]), use_package(None, {}):
        del sys.modules[PACKAGE]
        engine = Generator.load(micro_bundle).session.engine
    assert engine.reason.startswith(f"tinyedge_kernels cannot be loaded: its version is {version}, that of ")


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0])
def test_a_scale_that_is_no_scale_is_an_error_of_the_bundle(
    micro_bundle: Path, tmp_path: Path, scale: float
) -> None:
    def change(model: onnx.ModelProto) -> None:
        (tensor,) = (t for t in model.graph.initializer if t.name == "blocks.0.qkv.scale")
        tensor.raw_data = np.float32(scale).tobytes()

    folder = tmp_path / "bundle"
    shutil.copytree(micro_bundle, folder)
    replace_model(folder, change_model((folder / "model.onnx").read_bytes(), change))
    with use_engine(KERNELS), pytest.raises(BundleError) as failure:
        Generator.load(folder)
    assert failure.value.message.startswith(f"{folder}/model.onnx is not a valid model of a bundle: ")
    assert failure.value.message.endswith("negative or not finite")


def test_the_environment_chooses(micro_bundle: Path) -> None:
    assert load(micro_bundle, make_package(), {VARIABLE: KERNELS}).reason == "TINYEDGE_ENGINE chooses it"
    found = load(micro_bundle, make_package(), {VARIABLE: ONNXRUNTIME})
    assert found == (ONNXRUNTIME, None, "TINYEDGE_ENGINE chooses it")


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        (None, "tinyedge_kernels is not installed"),
        (REFUSED, "the kernels cannot use ONNX Runtime: API 20 is missing"),
    ],
)
def test_chosen_kernels_that_cannot_run_are_an_error(
    micro_bundle: Path, package: ModuleType | None, reason: str
) -> None:
    with pytest.raises(EngineError) as failure:
        load(micro_bundle, package, {VARIABLE: KERNELS})
    assert failure.value.message == f"TINYEDGE_ENGINE is kernels, which cannot run here: {reason}"
    assert "or run without TINYEDGE_ENGINE" in failure.value.hint
    assert failure.value.exit_code == 1


def test_an_unknown_engine_is_an_error(micro_bundle: Path) -> None:
    with pytest.raises(EngineError, match="TINYEDGE_ENGINE is 'gpu', which is not an engine"):
        load(micro_bundle, make_package(), {VARIABLE: "gpu"})


def test_kernels_need_onnx_runtimes_library(micro_bundle: Path) -> None:
    engine = load(micro_bundle, make_package(find_library=lambda: None), {})
    assert engine.reason == "no package onnxruntime with libonnxruntime.so is installed"


def test_a_caller_can_choose_the_engine(micro_bundle: Path) -> None:
    bundle = load_bundle(micro_bundle)
    with use_package(make_package(), {VARIABLE: "gpu"}):  # not read then
        for name in (KERNELS, ONNXRUNTIME):
            session = open_session(bundle.model, bundle.config, engine=name)
            assert (session.engine.name, session.engine.reason) == (name, "the caller chooses it")


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_kernels_get_the_tensors_in_the_order_of_their_interface(
    micro_bundle: Path, precision: str
) -> None:
    folder = micro_bundle.with_name(f"micro_bundle_{precision}")
    bundle = load_bundle(folder)
    found = weights.list_tensors(bundle.weights, bundle.config)
    assert found == models.read_bundle(folder).tensors
    assert bundle.without_bytes().weights == {}


def test_a_model_that_stores_its_weights_in_another_way_runs_in_onnx_runtime(micro_bundle: Path) -> None:
    bundle = load_bundle(micro_bundle)
    incomplete = {name: content for name, content in bundle.weights.items() if name != "blocks.0.out"}
    with use_package(make_package(), {}):
        engine = open_session(bundle.model, bundle.config, name="it", weights=incomplete).engine
    assert (engine.name, engine.reason) == (ONNXRUNTIME, "it does not store 'blocks.0.out' as plain bytes")


def test_the_engine_is_imported_before_a_bundle_is_loaded() -> None:
    code = (
        "import sys; from tinyedge.runtime.engine import import_engine; import_engine(); print(*sys.modules)"
    )
    modules = {KERNELS: "tinyedge.runtime.kernels", ONNXRUNTIME: "tinyedge.runtime.session"}
    for name, module in modules.items():
        found = run_python(code, **{VARIABLE: name}).stdout.split()
        assert {module} == set(found) & set(modules.values())


def test_the_probe_computes_a_token() -> None:
    with use_engine(KERNELS):
        assert probe.probe().name == KERNELS
    with use_package(None, {}):
        assert probe.probe() == (ONNXRUNTIME, None, "tinyedge_kernels is not installed")


def run_python(code: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | variables
    paths = (str(STAND_INS), *sys.path)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("prompt", ["", "The teacher found a silver key", "doct", "The.", "x" * 60, "la ma "])
@pytest.mark.parametrize("temperature", ["0", "0.8"])
def test_a_text_of_the_kernels_needs_neither_numpy_nor_onnx_runtimes_package(
    micro_bundle: Path, prompt: str, temperature: str
) -> None:
    code = (
        "import sys\n"
        "from tinyedge.__main__ import main\n"
        "try: main()\n"
        "finally: print(sorted({'numpy', 'onnxruntime'} & set(sys.modules)), file=sys.stderr)"
    )
    options = ("--max-tokens", "40", "--temperature", temperature, "--seed", "3", "--json")
    done = run_python(code, "generate", str(micro_bundle), "--prompt", prompt, *options)
    found = json.loads(done.stdout)
    assert found["engine"]["instructions"] == "python"
    assert found["tokens"]
    assert done.stderr.splitlines()[-1] == "[]"


def test_the_probe_prints_the_engine_or_the_reason() -> None:
    code = "import runpy; runpy.run_module('tinyedge.runtime.probe', run_name='__main__')"
    assert json.loads(run_python(code).stdout)["instructions"] == "python"
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run_python(code, **{VARIABLE: "gpu"})
    message, hint = failure.value.stderr.splitlines()
    assert message == "TINYEDGE_ENGINE is 'gpu', which is not an engine"
    assert hint.startswith("set it to kernels or onnxruntime")


def test_a_collection_does_not_look_at_what_was_imported() -> None:
    """In the middle of an answer it would take as long as several tokens."""
    code = (
        "import gc; from tinyedge.runtime.engine import import_engine; import_engine();"
        " print(gc.isenabled(), gc.get_freeze_count() > 20 * len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
