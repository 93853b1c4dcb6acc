"""Prompts from a file."""

from pathlib import Path

import pytest

from tinyedge.bench.prompts import BILINGUAL, MAX_FILE_BYTES, MAX_PROMPT_CHARACTERS, MAX_PROMPTS, read_prompts
from tinyedge.core.errors import UsageError


def test_each_line_is_a_prompt_named_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("Hola\n\n  \nUna señora \n", encoding="utf-8")
    found = read_prompts(file)
    assert found.prompts == {"line-1": "Hola", "line-4": "Una señora "}
    assert found.name.startswith("mine.txt sha256:")
    file.write_text("Hola", encoding="utf-8")
    assert read_prompts(file).name != found.name
    assert BILINGUAL.name != found.name


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "has 0 prompts"),
        (b"\n \n", "has 0 prompts"),
        (b"a\n" * (MAX_PROMPTS + 1), f"has {MAX_PROMPTS + 1} prompts"),
        (b"ok\n" + b"x" * (MAX_PROMPT_CHARACTERS + 1), "line-2: 10001 characters"),
        (b"\xff", "is not UTF-8"),
        (b"x" * (MAX_FILE_BYTES + 1), "is larger than"),
    ],
)
def test_an_invalid_file_is_named(tmp_path: Path, data: bytes, complaint: str) -> None:
    file = tmp_path / "mine.txt"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=complaint) as failure:
        read_prompts(file)
    assert f"--prompts {file}" in failure.value.message
    with pytest.raises(UsageError, match="is not a file"):
        read_prompts(tmp_path)
