"""Runs a portable model in many other engines, each in its own environment, and records the differences.

In: the folder that `bench.interop` prepared. Out: `bench/reports/interop-engines.json`. `engines.py` and
`engines.mjs` run the model.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.environments import NotInstalledError, prepare_python
from tinyedge.core import files

HERE = Path(__file__).parent
REPORT = HERE.parent / "reports" / "interop-engines.json"
SCHEMA = "tinyedge.interop-engines/1"
TIMEOUT_S = 1800
TORCH = "torch>=2.10,<2.14"  # an open range downloads several GB of CUDA
TRANSFORMERS = "transformers==4.57.6"  # the converters of these versions need 4

# Engines of `engines.py` by the packages that they need.
PYTHON_ENGINES: Mapping[Sequence[str], Sequence[str]] = {
    ("ctranslate2==4.8.5", TRANSFORMERS, TORCH): ("CTranslate2", "CTranslate2 int8"),
    ("openvino==2026.4.1", "openvino-tokenizers==2026.4.1.0", TRANSFORMERS): (
        *("OpenVINO, f32", "OpenVINO, default"),
        "openvino-tokenizers",
    ),
    ("opencv-python-headless==5.0.0.93",): ("OpenCV",),
    ("MNN==3.6.1",): ("MNN",),
    ("iree-base-compiler[onnx]==3.13.0", "iree-base-runtime==3.13.0"): ("IREE",),
    ("tinygrad==0.14.0",): ("tinygrad",),  # compiles with clang
    ("tract==0.23.9",): ("tract",),
    ("kitoken==0.11.1",): ("kitoken",),
}
NODE_PACKAGES = {"onnxruntime-node": "1.30.0", "onnxruntime-web": "1.30.0"}


def run_engines(work: Path, root: Path) -> int:
    """Run all engines and write the report.

    Args:
        work: Folder with the model and the reference.
        root: Folder for the environments.

    Returns:
        The number of engines that did not run.
    """
    rows: list[dict[str, Any]] = []
    for packages, engines in PYTHON_ENGINES.items():
        python = _prepare_python(root / packages[0].partition("=")[0].partition("[")[0], packages)
        for engine in engines:
            command = [str(python), str(HERE / "engines.py"), engine, str(work)]
            rows.append(
                _run(engine, command, root) if python else {"engine": engine, "error": "not installed"}
            )
    has_node = _prepare_node(root)
    for engine in NODE_PACKAGES:
        command = ["node", str(root / "engines.mjs"), engine, str(work)]
        rows.append(_run(engine, command, root) if has_node else {"engine": engine, "error": "not installed"})
    files.write_json(REPORT, {"schema": SCHEMA, "engines": rows})
    print(f"wrote {REPORT}")
    return sum("error" in row for row in rows)


def _run(engine: str, command: Sequence[str], folder: Path) -> dict[str, Any]:
    environment = {**os.environ, "DEV": "CPU", "ORT_DISABLE_TELEMETRY": "1"}  # DEV chooses tinygrad's device
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            timeout=TIMEOUT_S,
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"engine": engine, "error": f"no result in {TIMEOUT_S} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        row = {"engine": engine, "error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    else:
        row = json.loads(lines[-1])
    print(json.dumps(row, ensure_ascii=False), flush=True)
    return row


def _prepare_python(folder: Path, packages: Sequence[str]) -> Path | None:
    """Return the Python of an environment with the packages; None if they cannot be installed."""
    try:
        return prepare_python(folder, " ".join(packages), "numpy", *packages)
    except NotInstalledError as failure:
        print(failure, file=sys.stderr)
        return None


def _prepare_node(root: Path) -> bool:
    """Whether the JavaScript packages are installed; installs them if possible."""
    shutil.copy(HERE / "engines.mjs", root)  # node looks for packages in the script's folder
    if not (shutil.which("npm") and shutil.which("node")):
        return False
    packages = [f"{name}@{version}" for name, version in NODE_PACKAGES.items()]
    command = ["npm", "install", "--silent", "--ignore-scripts", "--prefix", str(root), *packages]
    return not subprocess.run(command, check=False, stdout=sys.stderr).returncode
