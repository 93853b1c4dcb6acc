"""The wheel on a device: only tinyedge, without extras and torch; it generates text and runs bench."""

import json
import os
import subprocess
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*words: object, cwd: Path = ROOT) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, env=clean, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_contains_only_the_package_and_its_data(wheel: Path) -> None:
    from tinyedge import __version__

    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"tinyedge", f"tinyedge_lm-{__version__}.dist-info"}
    here = {str(p.relative_to(ROOT)) for p in (ROOT / "tinyedge").rglob("*") if p.is_file()}
    here = {name for name in here if "__pycache__" not in name}
    here |= {f"tinyedge/deploy/files/{path.name}" for path in (ROOT / "export" / "deploy").iterdir()}
    assert {name for name in names if name.startswith("tinyedge/")} == here
    assert wheel.stat().st_size < 5 << 18  # no data slips in; a quarter of it is the phrasebook


def test_the_wheel_runs_without_extras(wheel: Path, micro_bundle: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    installed = {d["name"].lower() for d in json.loads(run(python, "-m", "pip", "list", "--format", "json"))}
    assert not installed & {"torch", "onnx", "onnxscript", "matplotlib", "pydantic"}
    tinyedge = tmp_path / "venv" / "bin" / "tinyedge"
    completion = json.loads(
        run(tinyedge, "generate", micro_bundle, "--prompt", "Hola", "--seed", 1, "--json", cwd=tmp_path)
    )
    assert completion["tokens"]
    command: list[str | Path] = [tinyedge, "bench", micro_bundle, "--samples", "25"]
    output = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    # Other programs may use the processor of this machine; no other doubt is acceptable.
    assert "verdict: pass" in output or "doubt: other programs" in output
    run(tinyedge, "verify", micro_bundle, cwd=tmp_path)
    again = (
        "import sys; from pathlib import Path; from tinyedge.deploy import kit, own_wheel\n"
        "print(own_wheel.build_own_wheel(Path(sys.argv[1])))\n"
        "assert (kit.find_deploy_files() / 'install.sh').is_file()\n"
    )
    copy = Path(run(python, "-c", again, tmp_path, cwd=tmp_path).strip())
    assert copy.name == wheel.name  # an installed tinyedge can rebuild its wheel for a board
    assert read_contents(copy) == read_contents(wheel)
    for name in ("train", "export"):
        done = subprocess.run([tinyedge, name], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("error: torch is not installed\nhint: on the workstation")


def read_contents(wheel: Path) -> dict[str, bytes]:
    """Read every file except RECORD, whose order may differ."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def test_changelog_and_version_agree() -> None:
    from tinyedge import __version__

    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].startswith(f"## [{__version__}] - ")
