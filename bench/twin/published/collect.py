"""`python -m bench.twin.published.collect NCNN SBC_BENCH`: write measurements.json from its sources.

NCNN and SBC_BENCH are clones of the repositories. The figures in the heads of OpenSSL's assembly are typed
below.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench.twin.published.measurements import MEASUREMENTS, SCHEMA, Measurement, Source
from tinyedge.core import files

ZERO, PLUS, CORE = "pi-zero-2w", "pi-3b-plus", "cortex-a53"
SAME = "the same work with the same kind of instructions"
NCNN_ADDRESS: Final = "https://github.com/Tencent/ncnn benchmark/README.md"
# Key, board, clock, heading in the file, version of the wheel that is counted; then the source.
NCNN_TABLES: Final = (
    (
        "ncnn-zero-2w-2022", ZERO, 1000, "Raspberry Pi Zero 2 W", "20220216",
        Source(
            NCNN_ADDRESS, "71f377e9e9768d78f52cabe61d2249673510ba0a", "2022-01-17",
            "issue 3485 of Qengineering: ncnn of January 2022, 64-bit system; mean of 8 runs after 8",
        ),
    ),
    (
        "ncnn-3b-plus-2022", PLUS, 1400, "Raspberry Pi 3 Model B+", "20220216",
        Source(
            NCNN_ADDRESS, "71f377e9e9768d78f52cabe61d2249673510ba0a", "2022-01-03",
            "by ncnn's author, ncnn of January 2022; mean of 8 (4 threads) and 4 (1 thread) runs after 8",
        ),
    ),
    (
        "ncnn-3b-plus-2023", PLUS, 1400, "Raspberry Pi 3 Model B+", "20230517",
        Source(
            NCNN_ADDRESS, "3a74ae4d3da81aa8d6b5ca9704dae8f35cf3d7be", "2023-06-23",
            "by ncnn's author, ncnn of June 2023; mean of 4 runs after 8",
        ),
    ),
)  # fmt: skip
SBC_ADDRESS: Final = "https://github.com/ThomasKaiser/sbc-bench"
# Name of the result, board, clock, when it was run, what it says about its clock.
SBC_RESULTS: Final = (
    ("3Dfo", ZERO, 600, "2021-10-29", "measured 598 to 599 MHz"),
    ("3E85", ZERO, 1000, "2021-11-05", "measured 905 MHz before and 1000 MHz after; 7-Zip sees 983 to 998"),
    ("3DeL", ZERO, 1200, "2021-10-29", "measured 823 to 993 MHz before (busy) and 1190 to 1199 MHz after"),
    ("1isD", PLUS, 1400, "2018-07-26", "with a fan; 7-Zip sees 1350 to 1399 MHz"),
)
DRAM_BOUND = "32-bit program; its instructions are other ones, but DRAM decides its time"
READ_LOOP = "32-bit program; the same loop with the 64-bit forms of its instructions"
RANDOM = "32-bit program; the published time is what leaving the first cache adds, which both forms share"
# Line of tinymembench: the program, and why it is comparable.
BANDWIDTHS: Final = {
    "standard memcpy": ("memory/memcpy", DRAM_BOUND),
    "standard memset": ("memory/memset", DRAM_BOUND),
    "NEON read": ("memory/neon-read", READ_LOOP),
    "NEON read prefetched (64 bytes step)": ("memory/neon-read-prefetched", READ_LOOP),
}
RANDOM_SIZES: Final = tuple(1 << bits for bits in range(16, 27))  # 64 KiB to 64 MiB
AES_32 = "32-bit program: OpenSSL's tables for ARMv7, while 64-bit OpenSSL permutes vectors (vpaes)"
COMPRESS = (
    "32-bit program; two encoders with a thread each for their match finders share one core, "
    "while one encoder without threads is counted"
)
DECOMPRESS = "32-bit program; four threads share one core and do the same work each"
OPENSSL: Final = "https://github.com/openssl/openssl crypto/"
# File, commit, date in the file, program, cycles a byte, the column of its table.
OPENSSL_HEADS: Final = (
    ("sha/asm/sha1-armv8.pl", "089747906faa9b77ed45fcf80db9953876089195", "", "sha1", 8.03, "software"),
    ("sha/asm/sha512-armv8.pl", "010ffc99d6c2d6d59819455a9b8dece4fb74e0a5", "", "sha256", 15.5, "SHA256(*)"),
    ("sha/asm/sha512-armv8.pl", "010ffc99d6c2d6d59819455a9b8dece4fb74e0a5", "", "sha512", 10.0, "SHA512"),
    ("sha/asm/keccak1600-armv8.pl", "08fed4d33608dc2a83cdd2f6de8b054b2f351e47", "2017-06", "sha3-256", 13,
     "r=1088, integer instructions"),
    ("chacha/asm/chacha-armv8.pl", "089747906faa9b77ed45fcf80db9953876089195", "2015-06", "chacha20-scalar",
     8.40, "IALU"),
    ("chacha/asm/chacha-armv8.pl", "089747906faa9b77ed45fcf80db9953876089195", "2015-06", "chacha20-neon",
     4.72, "6xNEON+2xIALU"),
    ("poly1305/asm/poly1305-armv8.pl", "089747906faa9b77ed45fcf80db9953876089195", "2015-06",
     "poly1305-scalar", 2.69, "IALU"),
    ("poly1305/asm/poly1305-armv8.pl", "089747906faa9b77ed45fcf80db9953876089195", "2015-06",
     "poly1305-neon", 1.47, "NEON"),
    ("aes/asm/vpaes-armv8.pl", "14c2c3e86042be92e4639814fe32615632af1526", "", "aes-128-cbc", 21.5,
     "CBC enc"),
    ("aes/asm/vpaes-armv8.pl", "14c2c3e86042be92e4639814fe32615632af1526", "", "aes-128-cbc-decrypt", 20.6,
     "ECB dec, which its footnote gives as about that of CBC decrypt"),
)  # fmt: skip


def show(clone: Path, commit: str, path: str) -> str:
    """A file of a clone, at a commit."""
    command = ["git", "-C", str(clone), "show", f"{commit}:{path}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def parse_networks(readme: str, heading: str) -> Iterator[tuple[str, int, float, float]]:
    """The table of a board: each network with its threads, its mean and its minimum in ms."""
    _, _, section = readme.partition(f"### {heading}")
    threads = 0
    for line in section.partition("\n### ")[0].splitlines():
        if found := re.match(r"num_threads = (\d+)", line):
            threads = int(found[1])
        elif found := re.match(r" *([\w.-]+)  min = *([\d.]+) .* avg = *([\d.]+)", line):
            yield found[1], threads, float(found[3]), float(found[2])


def read_ncnn(clone: Path) -> Iterator[tuple[str, Source, list[Measurement]]]:
    """The tables of ncnn's README."""
    for key, board, clock, heading, wheel, source in NCNN_TABLES:
        rows = parse_networks(show(clone, source.commit, "benchmark/README.md"), heading)
        reason = f"{SAME}; wheel of {wheel}"
        yield key, source, [
            Measurement(
                f"{key}/{network}/{threads}", f"ncnn-{wheel}/{network}", "run", board, clock, threads,
                value, minimum, "ms", round(value * 1e6), None, key, True, reason,
            )
            for network, threads, value, minimum in rows
        ]  # fmt: skip


def parse_result(text: str) -> Iterator[tuple[str, str, float, str, float, str, bool, str]]:
    """A result of sbc-bench: name, program, value, its unit, ns a unit of work, the unit, comparable, why."""
    for line, (program, reason) in BANDWIDTHS.items():
        found = re.search(rf"^ {re.escape(line)} +: +([\d.]+) MB/s", text, re.MULTILINE)
        if found:
            speed = float(found[1])
            yield program, program, speed, "MB/s", 1000 / speed, "byte", True, reason
    for size in RANDOM_SIZES:
        found = re.search(rf"^ +{size} : +([\d.]+) ns", text, re.MULTILINE)
        if found:
            name = f"memory/random-read-{size}"
            yield name, name, float(found[1]), "ns", float(found[1]), "read", True, RANDOM
    for bits in (128, 192, 256):
        values = re.findall(rf"^aes-{bits}-cbc .* ([\d.]+)k *$", text, re.MULTILINE)
        speed = sum(map(float, values)) / len(values)  # two runs, the column of 16 KiB
        name = f"openssl/aes-{bits}-cbc"
        yield name, name, round(speed, 2), "kB/s", 1e6 / speed, "byte", False, AES_32
    # The first table is that of one core.
    found = re.search(r"^22: +(\d+) .*\| +(\d+) ", text, re.MULTILINE)
    if found:
        for name, value, comparable, reason in (
            ("7zip/compress", int(found[1]), False, COMPRESS),
            ("7zip/decompress", int(found[2]), True, DECOMPRESS),
        ):
            yield name, name, value, "KiB/s", 1e9 / (1024 * value), "byte", comparable, reason


def read_sbc_bench(clone: Path) -> Iterator[tuple[str, Source, list[Measurement]]]:
    """The results of sbc-bench."""
    commit = subprocess.run(
        ["git", "-C", str(clone), "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    for result, board, clock, date, note in SBC_RESULTS:
        key = f"sbc-bench-{result}"
        note = f"32-bit Raspbian, tinymembench 0.4.9, 7-Zip 16.02, one core; {note}"
        yield key, Source(f"{SBC_ADDRESS} results/{result}.txt", commit, date, note), [
            Measurement(
                f"{key}/{name}", program, work, board, clock, 1, value, None, unit, round(ns, 6), None, key,
                comparable, reason,
            )
            for name, program, value, unit, ns, work, comparable, reason in parse_result(
                show(clone, commit, f"results/{result}.txt")
            )
        ]  # fmt: skip


def read_openssl() -> Iterator[tuple[str, Source, list[Measurement]]]:
    """The figures in the heads of OpenSSL's assembly."""
    for path, commit, date, program, cycles, column in OPENSSL_HEADS:
        key = f"openssl-{Path(path).stem}"
        note = "head of the file, row Cortex-A53; cycles a byte of a large message, board and clock not named"
        yield key, Source(OPENSSL + path, commit, date, note), [
            Measurement(
                f"openssl/{program}", f"openssl/{program}", "byte", CORE, None, 1, cycles, None,
                "cycles/byte", None, cycles, key, True, f"{SAME}; column {column}",
            )
        ]  # fmt: skip


def main(ncnn: Path, sbc_bench: Path) -> None:
    """Write the file."""
    sources: dict[str, Source] = {}
    measurements: list[Measurement] = []
    for key, source, rows in (*read_ncnn(ncnn), *read_sbc_bench(sbc_bench), *read_openssl()):
        sources[key] = source
        measurements += rows
    files.write_json(
        MEASUREMENTS,
        {
            "schema": SCHEMA,
            "sources": {key: asdict(source) for key, source in sources.items()},
            "measurements": [asdict(measurement) for measurement in measurements],
        },
    )
    print(f"{len(measurements)} measurements, {sum(m.comparable for m in measurements)} comparable")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
