"""The programs of the published measurements, as they run in the emulated board.

In: the folder that `prepare` fills. Out: `Run`s, which are what is executed, and `Program`s, which say what
part of a run is how much work.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.twin.counts import Counts, Figures
from bench.twin.layout import SOURCES, TwinError

GUEST: Final = SOURCES / "published" / "guest"
LIBCRYPTO: Final = "/usr/lib/aarch64-linux-gnu/libcrypto.so.1.1"
SEVEN_ZIP: Final = "/usr/lib/p7zip/7zr"
# ncnn of January 2022 is between the wheels of 20211208 and 20220216, and has the later one's kernels.
NCNN_VERSIONS: Final = ("20220216", "20230517")
# Networks of benchncnn, and the width and height of their input.
NETWORKS: Final[Mapping[str, int]] = {
    "squeezenet": 227, "squeezenet_int8": 227, "mobilenet": 224, "mobilenet_int8": 224, "mobilenet_v2": 224,
    "mobilenet_v3": 224, "shufflenet": 224, "shufflenet_v2": 224, "mnasnet": 224, "proxylessnasnet": 224,
    "efficientnet_b0": 224, "efficientnetv2_b0": 224, "regnety_400m": 224, "blazeface": 128, "googlenet": 224,
    "googlenet_int8": 224, "resnet18": 224, "resnet18_int8": 224, "alexnet": 227, "resnet50": 224,
    "resnet50_int8": 224, "squeezenet_ssd": 300, "squeezenet_ssd_int8": 300, "mobilenet_ssd": 300,
    "mobilenet_ssd_int8": 300, "mobilenet_yolo": 416, "mobilenetv2_yolov3": 352, "yolov4-tiny": 416,
    "nanodet_m": 320, "yolo-fastest-1.1": 320, "yolo-fastestv2": 352, "FastestDet": 352,
}  # fmt: skip
NEWER_NETWORKS: Final = {"FastestDet": "20230517"}  # the first version that has it
STREAMED_BYTES: Final = 32 << 20  # tinymembench's block
RANDOM_SIZES: Final = tuple(1 << bits for bits in range(16, 27))  # 64 KiB to 64 MiB
RANDOM_READS: Final = 1_000_000  # as guest/memory.py
CRYPTO_BYTES: Final = 1 << 19  # by which the steps of guest/crypto.py differ
SCALAR, NEON = "0", "1"  # OPENSSL_armcap
CRYPTO: Final[Mapping[str, tuple[str, str]]] = {
    "sha1": ("sha1", SCALAR), "sha256": ("sha256", SCALAR), "sha512": ("sha512", SCALAR),
    "sha3-256": ("sha3-256", SCALAR), "chacha20-scalar": ("chacha20", SCALAR),
    "chacha20-neon": ("chacha20", NEON), "poly1305-scalar": ("poly1305", SCALAR),
    "poly1305-neon": ("poly1305", NEON), "aes-128-cbc-decrypt": ("aes-128-cbc-decrypt", NEON),
    **{f"aes-{bits}-cbc": (f"aes-{bits}-cbc", NEON) for bits in (128, 192, 256)},
}  # fmt: skip
SEVEN_ZIP_BYTES: Final = (4 << 20) + (1 << 16)  # dictionary of 22 bits, and what its benchmark adds
# guest/marks.c sets a mark when each of these begins and ends: four estimates of the clock's rate,
# compressing, decompressing. Compressing sets another each 128 KiB, and decompressing four in two times.
SEVEN_ZIP_MARKS: Final = 48
COMPRESS_MARKS: Final = (8, 41)
DECOMPRESS_MARKS: Final = (43, 45)  # from the middle of the first time to that of the second


@dataclass(frozen=True)
class Run:
    """What is executed."""

    arguments: tuple[str, ...]
    """Of the program."""
    executable: str = ""
    """The program, in the root; empty for its Python."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment, in addition to the usual one."""


@dataclass(frozen=True)
class Program:
    """Work that can be counted."""

    name: str
    """Unique; measurements name it."""
    run: Callable[[Path, int], Run]
    """Of the folder that `prepare` filled, and the number of threads."""
    cut: Callable[[Counts], Figures]
    """Counts of a unit of work."""
    threaded: bool = False
    """Whether it can use threads."""


def cut_step(units: int) -> Callable[[Counts], Figures]:
    """The only step of a script is `units` units of work."""
    return lambda counts: counts.steps[0] / units


def cut_second_step(units: int) -> Callable[[Counts], Figures]:
    """The second step of a script does `units` units of work more than the first, which does all else too."""
    return lambda counts: (counts.steps[1] - counts.steps[0]) / units


def cut_seven_zip(begin: int, end: int) -> Callable[[Counts], Figures]:
    """A byte that 7-Zip processed between two of its marks."""

    def cut(counts: Counts) -> Figures:
        if len(counts.marks) != SEVEN_ZIP_MARKS:
            raise TwinError(f"7-Zip set {len(counts.marks)} marks instead of {SEVEN_ZIP_MARKS}")
        return (counts.marks[end] - counts.marks[begin]) / SEVEN_ZIP_BYTES

    return cut


def network(version: str, name: str) -> Program:
    """A network of benchncnn."""
    size = str(NETWORKS[name])

    def run(folder: Path, threads: int) -> Run:
        (module,) = (folder / f"ncnn-{version}" / "ncnn").glob("ncnn.*.so")
        param = folder / f"params-{version}" / f"{name}.param"
        arguments = (str(GUEST / "ncnn_network.py"), str(module), str(param), size, size, str(threads))
        # One thread plays several, so that counts repeat.
        variables = {"QEMU_SET_ENV": f"LD_PRELOAD={folder / 'team.so'}"} if threads > 1 else {}
        return Run(arguments, variables=variables)

    return Program(f"ncnn-{version}/{name}", run, cut_step(1), threaded=True)


def memory(work: str, size: int, name: str, cut: Callable[[Counts], Figures]) -> Program:
    """A loop over memory."""
    script = str(GUEST / "memory.py")
    return Program(
        f"memory/{name}", lambda folder, _: Run((script, str(folder / "loops.so"), work, str(size))), cut
    )


def crypto(name: str) -> Program:
    """A function of OpenSSL."""
    work, instructions = CRYPTO[name]
    run = Run((str(GUEST / "crypto.py"), LIBCRYPTO, work), variables={"OPENSSL_armcap": instructions})
    return Program(f"openssl/{name}", lambda *_: run, cut_second_step(CRYPTO_BYTES))


def run_seven_zip(folder: Path, threads: int) -> Run:
    """7-Zip's benchmark: it compresses once and decompresses twice by the clock of marks.c."""
    return Run(
        ("b", "1", "-mmt1", "-md22", "-mfreq=1", "-mtime=200"),
        SEVEN_ZIP,
        {"QEMU_SET_ENV": f"LD_PRELOAD={folder / 'marks.so'}"},
    )


def list_programs() -> dict[str, Program]:
    """All programs by name."""
    programs = [
        network(version, name)
        for version in NCNN_VERSIONS
        for name in NETWORKS
        if version >= NEWER_NETWORKS.get(name, "")
    ]
    programs += [
        memory(work, STREAMED_BYTES, work.replace("_", "-"), cut_step(STREAMED_BYTES))
        for work in ("memset", "memcpy", "neon_read", "neon_read_prefetched")
    ]
    programs += [
        memory("random_read", size, f"random-read-{size}", cut_second_step(RANDOM_READS))
        for size in RANDOM_SIZES
    ]
    programs += [crypto(name) for name in CRYPTO]
    programs.append(Program("7zip/compress", run_seven_zip, cut_seven_zip(*COMPRESS_MARKS)))
    programs.append(Program("7zip/decompress", run_seven_zip, cut_seven_zip(*DECOMPRESS_MARKS)))
    return {program.name: program for program in programs}
