"""docs/guide/tinyedge.ipynb: it is the page's, without outputs, and runs from top to bottom."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("nbclient", reason="notebooks need the extra `dev`")

from bench.guide.notebook import NOTEBOOK, PAGE, make_notebook

ROOT = Path(__file__).parents[2]


def test_the_notebook_is_made_from_its_page_and_has_no_outputs() -> None:
    made = make_notebook(PAGE.read_text(encoding="utf-8"))
    assert NOTEBOOK.read_text(encoding="utf-8") == made, "python -m bench.guide.notebook writes it anew"


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TINYEDGE_GUIDE_EPOCHS": "0"}
    command = [sys.executable, "-m", "bench.guide.notebook", "--run", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = json.loads((tmp_path / NOTEBOOK.name).read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert any("image/png" in output.get("data", {}) for output in outputs), "the curve is shown"
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    assert "after epoch 1: bits per byte all" in printed
    assert "My sister" in printed
    assert "\x1b" not in printed, "a notebook shows no colours of a terminal"
    assert "verdict:" in printed
