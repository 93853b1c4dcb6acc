"""A user's program, type-checked against the installed wheel: the package carries its types (PEP 561)."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="type checking needs the extra `dev`")

ROOT = Path(__file__).parents[1]
CONSUMER = """
from collections.abc import Iterator
from pathlib import Path

from tinyedge.runtime import Completion, Generator, Piece, SamplingConfig


def pieces(bundle: Path) -> Iterator[Piece]:
    with Generator.load(bundle) as generator:
        yield from generator.stream("My sister", max_tokens=20, sampling=SamplingConfig(temperature=0.7))


def completion(bundle: Path) -> Completion:
    with Generator.load(bundle) as generator:
        return generator.generate("My sister")


reveal_type(completion(Path("bundle")).text)
"""


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that contains only the wheel."""
    folder = tmp_path_factory.mktemp("site")
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *quiet, "--target", folder, wheel], check=True, cwd=folder
    )
    return folder


def check(program: str, site: Path, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run `mypy --strict` on a user's program that sees the installed wheel, but no checkout."""
    (folder / "consumer.py").write_text(program)
    # MYPYPATH would treat the wheel as sources: a bare environment makes it an installed package.
    environment = folder / "environment"
    packages = environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    packages.parent.mkdir(parents=True)
    packages.symlink_to(site)
    (environment / "bin").mkdir()
    python = environment / "bin" / "python"
    python.symlink_to(sys.executable)
    (environment / "pyvenv.cfg").write_text(f"home = {Path(sys.base_prefix) / 'bin'}\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "consumer.py"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_a_users_program_is_checked_against_the_wheel(site: Path, tmp_path: Path) -> None:
    done = check(CONSUMER, site, tmp_path)
    assert 'Revealed type is "str"' in done.stdout or 'Revealed type is "builtins.str"' in done.stdout
    assert done.returncode == 0, done.stdout


def test_a_mistake_in_a_users_program_is_found(site: Path, tmp_path: Path) -> None:
    wrong = CONSUMER.replace('generator.generate("My sister")', "generator.generate(7)")
    done = check(wrong, site, tmp_path)
    assert 'incompatible type "int"; expected "str | Sequence[int]"' in done.stdout
    assert done.returncode == 1
