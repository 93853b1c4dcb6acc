"""Changes that make QEMU's Cortex-A53 the one of a Raspberry Pi, and the files that describe a processor.

QEMU's model has the AES and SHA instructions, which no Pi before the 5 has, and no switch for them. The value
of its register ID_AA64ISAR0_EL1 is a constant in one instruction of the program; a private copy of the
program gets the Pi's value, after which QEMU itself refuses those instructions. `self_check` proves it. The
Cortex-A76 of a Pi 5 has another constant, which stays.
"""

import re
import shutil
from pathlib import Path

from bench.twin.layout import TwinError, require
from tinyedge.boards.board import Board, Cache

QEMU_FEATURES, PI_FEATURES = 0x11120, 0x10000  # CRC32, SHA2, SHA1, AES and PMULL; CRC32 alone
MODELS_WITH_CRYPTOGRAPHY = 3  # Cortex-A53, A57 and A72 have the same value
# mov qword ptr [register + offset], QEMU_FEATURES; then the next such store
STORE = re.compile(rb"(\x48\xc7[\x80-\x87].{4})" + re.escape(QEMU_FEATURES.to_bytes(4, "little")) + rb"(?=\x48\xc7[\x80-\x87])", re.S)  # fmt: skip # noqa: E501

CPUINFO_CORE = """\
processor	: {core}
Features	: {features}
CPU implementer	: 0x{implementer:02x}
CPU architecture: 8
CPU variant	: 0x{variant:x}
CPU part	: 0x{part:03x}
CPU revision	: {revision}

"""
LINE_BYTES = 64  # of every cache


def remove_cryptography(program: bytes, name: str) -> bytes:
    """QEMU's program with the Pi's CPU features.

    Args:
        program: The executable.
        name: Its name, for the error.

    Raises:
        TwinError: If the program does not have the expected instructions.
    """
    changed, places = STORE.subn(lambda store: store[1] + PI_FEATURES.to_bytes(4, "little"), program)
    if places != MODELS_WITH_CRYPTOGRAPHY:
        raise TwinError(
            f"{name} sets up {places} CPU models as this QEMU should set up {MODELS_WITH_CRYPTOGRAPHY}",
            "the twin supports QEMU 7.2 of Debian bookworm; adapt the twin to a newer one",
        )
    return changed


def make_program(folder: Path, name: str) -> None:
    """Write `pi/NAME`, the Pi's copy of the QEMU that was unpacked in `folder`."""
    source, copy = folder / "usr" / "bin" / name, folder / "pi" / name
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(remove_cryptography(source.read_bytes(), name))
    shutil.copymode(source, copy)


def write_cpu_files(root: Path, board: Board) -> None:
    """Write the board's /proc/cpuinfo and /sys/devices/system/cpu inside the root, where they differ.

    QEMU's user mode shows the host's, of another architecture, to the guest, and onnxruntime crashes; files
    under the root take precedence. A booted kernel mounts its own over them.
    """
    processor = board.processor
    cores = require(processor.cores, board, "processor.cores")
    all_cores = _list_cores(0, cores)
    cpu = "sys/devices/system/cpu"
    files = {"proc/cpuinfo": "".join(_describe_core(board, core) for core in range(cores))}
    files |= {f"{cpu}/{name}": all_cores for name in ("possible", "present", "online")}
    clocks = {"cpuinfo_max_freq": processor.max_mhz, "cpuinfo_min_freq": processor.min_mhz}
    for core in range(cores):
        folder = f"{cpu}/cpu{core}"
        files |= {f"{folder}/cpufreq/{name}": str(mhz * 1000) for name, mhz in clocks.items() if mhz}
        files |= {f"{folder}/topology/{name}": "0" for name in ("physical_package_id", "cluster_id")}
        own = ("core_id", "thread_siblings_list", "core_cpus_list")
        files |= {f"{folder}/topology/{name}": str(core) for name in own}
        shared = ("core_siblings_list", "cluster_cpus_list", "package_cpus_list")
        files |= {f"{folder}/topology/{name}": all_cores for name in shared}
        for index, cache in enumerate(processor.caches):
            described = _describe_cache(cache, core)
            files |= {f"{folder}/cache/index{index}/{name}": value for name, value in described.items()}
    for name, text in files.items():
        path, line = root / name, text.rstrip("\n") + "\n"
        if not path.exists() or path.read_text() != line:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(line)


def _describe_core(board: Board, core: int) -> str:
    """A core's part of /proc/cpuinfo."""
    midr = int(require(board.processor.midr, board, "processor.midr"), 16)
    return CPUINFO_CORE.format(
        core=core,
        features=" ".join(board.processor.features),
        implementer=midr >> 24,
        variant=midr >> 20 & 0xF,
        part=midr >> 4 & 0xFFF,
        revision=midr & 0xF,
    )


def _describe_cache(cache: Cache, core: int) -> dict[str, str]:
    """The files of a core's cache in /sys."""
    first = core // cache.shared_by * cache.shared_by
    return {
        "level": str(cache.level),
        "type": cache.kind.capitalize(),
        "size": f"{cache.size_kb}K",
        "number_of_sets": str(cache.size_kb * 1024 // (LINE_BYTES * cache.ways)),
        "ways_of_associativity": str(cache.ways),
        "coherency_line_size": str(LINE_BYTES),
        "shared_cpu_list": _list_cores(first, cache.shared_by),
    }


def _list_cores(first: int, count: int) -> str:
    """Cores as the kernel lists them, such as "0-3"."""
    return str(first) if count == 1 else f"{first}-{first + count - 1}"
