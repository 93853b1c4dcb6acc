"""Changes that make QEMU's Cortex-A53 the one of a Raspberry Pi Zero 2 W.

QEMU's model has the AES and SHA instructions, which no Pi before the 5 has, and no switch for them. The value
of its register ID_AA64ISAR0_EL1 is a constant in one instruction of the program; a private copy of the
program gets the Pi's value, after which QEMU itself refuses those instructions. `self_check` proves it.
"""

import re
import shutil
from pathlib import Path

from bench.twin.layout import BOARD, CORES, TwinError

QEMU_FEATURES, PI_FEATURES = 0x11120, 0x10000  # CRC32, SHA2, SHA1, AES and PMULL; CRC32 alone
MODELS_WITH_CRYPTOGRAPHY = 3  # Cortex-A53, A57 and A72 have the same value
# mov qword ptr [register + offset], QEMU_FEATURES; then the next such store
STORE = re.compile(rb"(\x48\xc7[\x80-\x87].{4})" + re.escape(QEMU_FEATURES.to_bytes(4, "little")) + rb"(?=\x48\xc7[\x80-\x87])", re.S)  # fmt: skip # noqa: E501

CPUINFO_CORE = """\
processor	: {core}
BogoMIPS	: 38.40
Features	: {features}
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x0
CPU part	: 0xd03
CPU revision	: 4

"""
# level, type, size, sets, ways, cores that share it ("" for the core alone)
CACHES = (("1", "Data", "32K", 128, 4, ""), ("1", "Instruction", "32K", 256, 2, ""), ("2", "Unified", "512K", 512, 16, "0-3"))  # fmt: skip # noqa: E501


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


def write_cpu_files(root: Path) -> None:
    """Write the board's /proc/cpuinfo and /sys/devices/system/cpu inside the root.

    QEMU's user mode shows the host's, of another architecture, to the guest, and onnxruntime crashes; files
    under the root take precedence. A booted kernel mounts its own over them.
    """
    features = " ".join(BOARD.processor.features)
    all_cores = f"0-{CORES - 1}"
    cores = (CPUINFO_CORE.format(core=core, features=features) for core in range(CORES))
    files = {"proc/cpuinfo": "".join(cores)}
    cpu = "sys/devices/system/cpu"
    files |= {f"{cpu}/{name}": all_cores for name in ("possible", "present", "online")}
    for core in range(CORES):
        topology, frequency = f"{cpu}/cpu{core}/topology", f"{cpu}/cpu{core}/cpufreq"
        files |= {f"{frequency}/cpuinfo_max_freq": "1000000", f"{frequency}/cpuinfo_min_freq": "600000"}
        files |= {f"{topology}/{name}": "0" for name in ("physical_package_id", "cluster_id")}
        files |= {
            f"{topology}/{name}": str(core) for name in ("core_id", "thread_siblings_list", "core_cpus_list")
        }
        files |= {f"{topology}/{name}": all_cores for name in ("core_siblings_list", "cluster_cpus_list", "package_cpus_list")}  # fmt: skip # noqa: E501
        for index, (level, kind, size, sets, ways, shared) in enumerate(CACHES):
            values = {
                "level": level, "type": kind, "size": size, "number_of_sets": sets,
                "ways_of_associativity": ways, "coherency_line_size": 64, "shared_cpu_list": shared or core,
            }  # fmt: skip
            files |= {f"{cpu}/cpu{core}/cache/index{index}/{name}": str(v) for name, v in values.items()}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip("\n") + "\n")
