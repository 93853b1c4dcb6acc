"""Counts a unit of work of each program in the emulated board, and keeps them in `counts.json`.

In: a twin with its plugin, the folder that `prepare` filled. Out: counts, with the versions they are of.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench.twin.counts import Counts, Figures
from bench.twin.layout import SOURCES, Twin, TwinError
from bench.twin.published.prepare import PYTHON, SUITE, ZIG, published_folder, root_folder
from bench.twin.published.programs import NCNN_VERSIONS, Program, Run, list_programs
from bench.twin.user_emulation import Guest
from tinyedge.core import files

SCHEMA: Final = "tinyedge.published-counts/1"
COUNTS: Final = Path(__file__).with_name("counts.json")
PACKAGES: Final = ("libc6", "libssl1.1", "p7zip", "python3.9", "libgomp1")


def count_program(twin: Twin, program: Program, threads: int = 1) -> Counts:
    """Run a program and count.

    Raises:
        TwinError: If it fails.
    """
    folder = published_folder(twin)
    run = program.run(folder, threads)
    guest = Guest(twin, root=root_folder(folder), executable=run.executable or f"/usr/bin/python{PYTHON}")
    # Threads that wait must sleep: on the board each has a core, here they share one.
    variables = {"OMP_WAIT_POLICY": "passive", **run.variables}
    outcome, counts = guest.count(run.arguments, variables=variables)
    if outcome.returncode:
        raise TwinError(f"{program.name} exited with {outcome.returncode}: {outcome.errors.strip()}")
    return counts


def count(twin: Twin, name: str, threads: int = 1) -> Figures:
    """Counts of a unit of work of a program. Raises TwinError if it is unknown or fails."""
    (program,) = select([name])
    return program.cut(count_program(twin, program, threads))


def select(names: Sequence[str]) -> list[Program]:
    """Programs by name or by the beginning of it, such as "memory/"; all if there are no names.

    Raises:
        TwinError: If a name fits none.
    """
    programs = list_programs()
    if not names:
        return list(programs.values())
    chosen: dict[str, Program] = {}
    for name in names:
        exact = {name: programs[name]} if name in programs else {}
        fitting = exact or {key: value for key, value in programs.items() if key.startswith(name)}
        if not fitting:
            raise TwinError(
                f"there is no program {name}", "names are those in bench/twin/published/counts.json"
            )
        chosen |= fitting
    return list(chosen.values())


def count_all(twin: Twin, programs: Sequence[Program], threads: int) -> Iterator[tuple[str, Figures]]:
    """Counts of a unit of work of each program; a run that two neighbors share is executed once."""
    previous: tuple[Run, Counts] | None = None
    for program in programs:
        run = program.run(published_folder(twin), threads)
        if previous is None or previous[0] != run:
            previous = run, count_program(twin, program, threads)
        yield program.name, program.cut(previous[1])


def read_versions(twin: Twin) -> dict[str, str]:
    """What the counts depend on: packages, wheels, the plugin."""
    folder = published_folder(twin)
    archives = [path.name for path in (folder / f"apt-{SUITE}" / "archives").glob("*.deb")]
    versions = {"debian": SUITE, "zig": ZIG, "ncnn": ", ".join(f"1.0.{version}" for version in NCNN_VERSIONS)}
    for package in PACKAGES:
        for name in archives:
            if found := re.match(rf"{re.escape(package)}_(.+)_arm64\.deb", name):
                versions[package] = found[1].replace("%3a", ":")
    sources = b"".join(path.read_bytes() for path in sorted((SOURCES / "counter").glob("*.[ch]")))
    return {**versions, "plugin": hashlib.sha256(sources).hexdigest()}


def save(path: Path, counts: dict[str, dict[str, float]], versions: dict[str, str], threads: int) -> None:
    """Add counts to the file, or begin a new one if it is of other versions.

    Args:
        path: The file.
        counts: Counts of a unit of work, by program.
        versions: Of `read_versions`.
        threads: Threads that shared the work.
    """
    data = files.read_json(path, SCHEMA, TwinError) if path.exists() else {}
    if data.get("versions") != versions:
        data = {"schema": SCHEMA, "versions": versions, "counts": {}}
    data["counts"].setdefault(str(threads), {}).update(counts)
    files.write_json(path, data)


def run_published(twin: Twin, names: Sequence[str], threads: int) -> None:
    """Count programs, print and save them.

    Raises:
        TwinError: If a program fails, or threads are asked of programs that have none.
    """
    programs = [program for program in select(names) if threads == 1 or program.threaded]
    if not programs:
        raise TwinError("none of these programs can use threads")
    versions = read_versions(twin)
    for name, figures in count_all(twin, programs, threads):
        values = {key: round(value, 6) for key, value in asdict(figures).items()}
        print(f"{name:40} " + "  ".join(f"{key} {value:.6g}" for key, value in values.items()), flush=True)
        save(COUNTS, {name: values}, versions, threads)
