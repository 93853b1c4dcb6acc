"""Executed code is dropped from memory, and can run again."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.engines import ENGINES
from tinyedge.core.engine import KERNELS, VARIABLE
from tinyedge.host import drop_code

SCRIPT = """
import json, sys
from pathlib import Path
from tinyedge.host import drop_code
from tinyedge.runtime import Generator, SamplingConfig

def read_file_kb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssFile:"))

def generate_text():
    with Generator.load(Path(sys.argv[1])) as generator:
        return generator.generate("bada", sampling=SamplingConfig(temperature=0)).text

before = generate_text(), read_file_kb()
drop_code.drop_executed_code()
remaining = read_file_kb()
print(json.dumps([before, remaining, generate_text()]))
"""


@pytest.mark.skipif(not drop_code.MAPS.exists(), reason="this system does not list its mappings")
@pytest.mark.parametrize("engine", ENGINES)
def test_dropped_code_runs_again(micro_bundle: Path, engine: str) -> None:
    if engine == KERNELS:
        pytest.importorskip("tinyedge_kernels", reason="the kernels, which do it themselves, are not built")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(micro_bundle)],
        env={**os.environ, VARIABLE: engine},
        capture_output=True,
        text=True,
        check=True,
    )
    (text, before), remaining, again = json.loads(done.stdout)
    assert remaining < before / 2
    assert again == text


def test_a_system_without_a_list_of_mappings_is_unchanged(tmp_path: Path) -> None:
    drop_code.drop_executed_code(tmp_path / "maps")


def test_only_code_of_existing_files_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[tuple[int, int, int]] = []

    class Library:
        def __init__(self, name: None) -> None:
            self.madvise = lambda *arguments: dropped.append(arguments)

    monkeypatch.setattr(ctypes, "CDLL", Library)
    maps = tmp_path / "maps"
    maps.write_bytes(
        b"1000-3000 r-xp 00000000 fe:00 12 /usr/lib/my code\xff.so\n"
        b"3000-4000 r--p 00002000 fe:00 12 /usr/lib/my code\xff.so\n"
        b"4000-5000 rw-p 00003000 fe:00 12 /usr/lib/a r-xp /b.so\n"
        b"5000-6000 rwxp 00000000 00:00 0 \n"
        b"6000-7000 r-xp 00000000 00:00 0                          [anon: /made]\n"
        b"7000-8000 r-xp 00000000 00:00 0                          [vdso]\n"
        b"9000-a000 r-xp 00000000 fe:00 15                         /srv/a\rb/lib.so\n"
        b"8000-9000 r-xp 00000000 00:01 34                         /memfd:compiled (deleted)\n"
    )
    drop_code.drop_executed_code(maps)
    assert dropped == [(0x1000, 0x2000, drop_code.MADV_DONTNEED), (0x9000, 0x1000, drop_code.MADV_DONTNEED)]


def test_code_is_dropped_before_and_after_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(drop_code, "drop_executed_code", lambda: seen.append("dropped"))
    with drop_code.drop_before_and_after():
        seen.append("loaded")
    assert seen == ["dropped", "loaded", "dropped"]
