"""Counts a unit of work of each program in the emulated board, and keeps them in `counts.json`.

In: a twin with its plugin, the folder that `prepare` filled. Out: counts, with the versions they are of.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

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
    """Run a program and count; threads/team.c plays several threads.

    Raises:
        TwinError: If it fails.
    """
    folder = published_folder(twin)
    run = program.run(folder, threads)
    guest = Guest(twin, root=root_folder(folder), executable=run.executable or f"/usr/bin/python{PYTHON}")
    outcome, counts = guest.count(run.arguments, variables=run.variables)
    if outcome.returncode:
        raise TwinError(f"{program.name} exited with {outcome.returncode}: {outcome.errors.strip()}")
    return counts


def count(twin: Twin, name: str) -> Figures:
    """Counts of a unit of work of a program. Raises TwinError if it is unknown or fails."""
    (program,) = select([name])
    return program.cut(count_program(twin, program))


def select(names: Sequence[str], threads: int = 1) -> list[Program]:
    """Programs by name or by the beginning of it, such as "memory/"; all if there are no names.

    Args:
        names: The names.
        threads: Threads; programs that cannot use several are left out then.

    Raises:
        TwinError: If a name fits none, or none of the programs can use that many threads.
    """
    programs = list_programs()
    chosen: dict[str, Program] = {} if names else programs
    for name in names:
        exact = {name: programs[name]} if name in programs else {}
        fitting = exact or {key: value for key, value in programs.items() if key.startswith(name)}
        if not fitting:
            raise TwinError(
                f"there is no program {name}", "names are those in bench/twin/published/counts.json"
            )
        chosen |= fitting
    usable = [program for program in chosen.values() if threads == 1 or program.threaded]
    if not usable:
        raise TwinError("none of these programs can use threads")
    return usable


def count_all(twin: Twin, programs: Sequence[Program]) -> Iterator[tuple[str, Figures]]:
    """Counts of a unit of work of each program; a run that two neighbors share is executed once."""
    previous: tuple[Run, Counts] | None = None
    for program in programs:
        run = program.run(published_folder(twin), 1)
        if previous is None or previous[0] != run:
            previous = run, count_program(twin, program)
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


def save(
    path: Path, schema: str, counts: Mapping[str, Any], versions: Mapping[str, str], threads: int
) -> None:
    """Add counts to a file, or begin a new one if it is of other versions.

    Args:
        path: The file.
        schema: Its schema.
        counts: Counts of a unit of work, by program.
        versions: Of `read_versions`.
        threads: Threads that shared the work.
    """
    data = files.read_json(path, schema, TwinError) if path.exists() else {}
    if data.get("versions") != versions:
        data = {"schema": schema, "versions": versions, "counts": {}}
    data["counts"].setdefault(str(threads), {}).update(counts)
    files.write_json(path, data)


def run_published(twin: Twin, programs: Sequence[Program]) -> None:
    """Count programs with one thread, print and save them.

    Raises:
        TwinError: If a program fails.
    """
    versions = read_versions(twin)
    for name, figures in count_all(twin, programs):
        values = {key: round(value, 6) for key, value in asdict(figures).items()}
        print(f"{name:40} " + "  ".join(f"{key} {value:.6g}" for key, value in values.items()), flush=True)
        save(COUNTS, SCHEMA, {name: values}, versions, threads=1)
