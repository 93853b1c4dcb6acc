"""docs/api.md: its examples run, and it lists every public name, field and error of `tinyedge.runtime`."""

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tinyedge import runtime
from tinyedge.core import errors

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_there_are_two_examples() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str, micro_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(micro_bundle)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("name", runtime.__all__)
def test_every_public_class_is_documented_with_its_fields(name: str) -> None:
    kind = getattr(runtime, name)
    assert re.search(rf"^## {name}$", PAGE, re.MULTILINE)
    section = PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]
    if dataclasses.is_dataclass(kind):
        fields = [field.name for field in dataclasses.fields(kind)]
    else:
        fields = list(getattr(kind, "_fields", ()))
    assert [field for field in fields if not re.search(rf"`{field}\b", section)] == []


@pytest.mark.parametrize("method", ["stream", "generate"])
def test_every_argument_is_documented_with_its_default(method: str) -> None:
    section = PAGE.split("\n## Generator\n")[1].split("\n## ")[0]
    for name, parameter in inspect.signature(getattr(runtime.Generator, method)).parameters.items():
        if name != "self":
            default = parameter.default
            shown = "" if default is parameter.empty else f"={default!r}"
            shown = "=SamplingConfig()" if isinstance(default, runtime.SamplingConfig) else shown
            assert f"`{name}{shown}`" in section


def test_every_sampling_field_is_documented_with_its_default() -> None:
    for field in dataclasses.fields(runtime.SamplingConfig):
        default = {} if field.default is dataclasses.MISSING else field.default
        assert f"`{field.name}={default!r}`" in PAGE


def test_every_documented_error_exists() -> None:
    section = PAGE.split("\n## Errors\n")[1]
    named = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert named
    for name in named:
        assert issubclass(getattr(errors, name), errors.TinyEdgeError)
