"""The counter's model of the core, compiled for this machine: its pipeline against measured instructions."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Sequence

import pytest

from bench.twin.layout import SOURCES
from tests.bench_tools.cortex_a53 import MEASURED, Measured

COUNTER = SOURCES / "counter"
ROUNDS = 120
COPIES = 12  # of an independent instruction, in registers 0 to 11
TOLERANCE = 0.1
WITHOUT_RESULT = ("ccmp", "fcmp", "fccmp", "tst", "cbz", "tbz", "adds -> b.eq", "b (", "nop")
# What the model does not give, and why.
LATENCY_EXCEPTIONS = {
    "madd": "it and mneg are slower there than msub and mul, which nothing explains",
    "mneg": "as madd",
    "b (pc+4)": "a jump to the next instruction, which the core fetches again; loops jump farther",
    "fsqrt.s (vec)": "as fast as a single root there: of operands that are zero",
    "udiv": "from 3 to 20 cycles, by the operands, which the decoder does not know",
}
THROUGHPUT_EXCEPTIONS = {
    **LATENCY_EXCEPTIONS,
    "ldrb (imm; ofs = 0)": "measured with an addition after each load; without one it is 1.00, as ldrb (reg)",
    "ldr (literal)": "the literal is in the code, so other caches take part",
    "tst (reg)": "0.5 cycles as ands, which sets the same flags; measured with both operands alike",
    "fmaxp.s (scl)": "rare",
}

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, `cc`")
Cycles = Callable[[Sequence[int]], float]
SHIM = """
#include "pipeline.h"
#include <stdlib.h>
/* Cycles of two blocks, one after the other; the second one may be empty. */
int cycles_of(const uint32_t *codes, int first, int second) {
    Pipeline state = {0};
    Instruction *block = calloc((size_t)(first + second) + 1, sizeof *block);
    for (int i = 0; i < first + second; i++) block[i] = decode(codes[i]);
    int cycles = schedule(block, (size_t)first, &state);
    if (second) cycles += schedule(block + first, (size_t)second, &state);
    free(block);
    return cycles;
}
/* Whether an instruction changes a register, waits for it, or stores it. */
int touches(uint32_t code, int number) {
    Instruction decoded = decode(code);
    int found = decoded.address_result == number;
    for (int i = 0; i < MAX_RESULTS; i++) found |= decoded.results[i] == number;
    found |= (decoded.sum == number) << 1;
    for (int i = 0; i < MAX_SOURCES; i++)
        found |= (decoded.sources[i] == number) << 1 | (decoded.stored[i] == number) << 2;
    return found;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(
        ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{COUNTER}",
         folder / "shim.c", COUNTER / "pipeline.c", "-o", folder / "pipeline.so"],
        check=True,
    )  # fmt: skip
    return ctypes.CDLL(str(folder / "pipeline.so"))


def count_cycles(library: ctypes.CDLL, first: Sequence[int], second: Sequence[int] = ()) -> int:
    codes = [*first, *second]
    return int(library.cycles_of((ctypes.c_uint32 * len(codes))(*codes), len(first), len(second)))


@pytest.fixture
def cycles(library: ctypes.CDLL) -> Cycles:
    """Cycles of a round of instructions that are repeated many times."""

    def count(codes: Sequence[int]) -> float:
        once, twice = (count_cycles(library, [*codes] * ROUNDS * times) for times in (1, 2))
        return (twice - once) / ROUNDS

    return count


def independent_copies(measured: Measured) -> list[int]:
    assert measured.code is not None
    rotates = not measured.name.startswith(WITHOUT_RESULT)
    return [measured.code + number * rotates for number in range(COPIES)]


def test_at_least_forty_instructions_of_all_groups_are_compared() -> None:
    assert len(MEASURED) == len({measured.name for measured in MEASURED}) > 150
    assert {*LATENCY_EXCEPTIONS, *THROUGHPUT_EXCEPTIONS} <= {measured.name for measured in MEASURED}


@pytest.mark.parametrize("measured", [one for one in MEASURED if one.latency], ids=lambda one: str(one.name))
def test_a_chain_takes_the_measured_latency(cycles: Cycles, measured: Measured) -> None:
    same = cycles(measured.chain) == pytest.approx(measured.latency, rel=TOLERANCE)
    assert same != (measured.name in LATENCY_EXCEPTIONS)


@pytest.mark.parametrize(
    "measured", [one for one in MEASURED if one.throughput], ids=lambda one: str(one.name)
)
def test_independent_instructions_have_the_measured_throughput(cycles: Cycles, measured: Measured) -> None:
    assert measured.throughput is not None
    found = cycles(independent_copies(measured)) / COPIES
    same = found == pytest.approx(1 / measured.throughput, rel=TOLERANCE)
    assert same != (measured.name in THROUGHPUT_EXCEPTIONS)


def find(name: str) -> Measured:
    return next(measured for measured in MEASURED if measured.name == name)


def test_instructions_of_different_units_issue_together(cycles: Cycles) -> None:
    add, load, multiply = (
        independent_copies(find(name)) for name in ("add (imm)", "str (imm; ofs = 0)", "smull")
    )
    half_vector, vector = (independent_copies(find(name)) for name in ("fmul.s (scl)", "add.b"))
    for first, second in (
        (add, load),
        (add, multiply),
        (load, vector),
        (multiply, half_vector),
        (add, vector),
    ):
        assert cycles([code for pair in zip(first, second, strict=True) for code in pair]) == COPIES
    # Nothing issues with a load of 128 bits, nor a half beside a whole vector.
    wide = independent_copies(find("ldr.q (imm; ofs = 0)"))
    assert cycles([code for pair in zip(wide, add, strict=True) for code in pair]) == 2 * COPIES
    assert cycles([code for pair in zip(vector, half_vector, strict=True) for code in pair]) == 2 * COPIES


def test_what_a_block_leaves_unfinished_delays_the_next_one(library: ctypes.CDLL) -> None:
    branch = find("b (pc+4)").chain[0]
    for measured in MEASURED:
        if measured.chain:
            block = [*measured.chain, *independent_copies(find("add (imm)")), branch]
            assert count_cycles(library, block, block) == count_cycles(library, block * 2), measured.name
    multiply = find("fmla.s (vec)").chain
    assert count_cycles(library, multiply, multiply) == 8  # cycles from the first one's issue to the second's


READS, WRITES, STORES = 2, 1, 4
STACK, FLAGS, VECTORS = 31, 64, 32


@pytest.mark.parametrize(
    ("code", "registers"),
    [
        (0x8B020020, {0: WRITES, 1: READS, 2: READS}),  # add x0, x1, x2
        (0xAB02003F, {FLAGS: WRITES, 1: READS, 2: READS, STACK: 0}),  # cmn x1, x2: 31 is no register
        (0xD10083FF, {STACK: WRITES | READS}),  # sub sp, sp, #32
        (0x8B2263E0, {0: WRITES, STACK: READS, 2: READS}),  # add x0, sp, x2
        (0xF94003E0, {0: WRITES, STACK: READS}),  # ldr x0, [sp]
        (0xA9BF7BFD, {29: STORES, 30: STORES, STACK: WRITES | READS}),  # stp x29, x30, [sp, #-16]!
        (0xA8C107E0, {0: WRITES, 1: WRITES, STACK: WRITES | READS}),  # ldp x0, x1, [sp], #16
        (0xF8627820, {0: WRITES, 1: READS, 2: READS}),  # ldr x0, [x1, x2, lsl #3]
        (0xF8227820, {0: STORES, 1: READS, 2: READS}),  # str x0, [x1, x2, lsl #3]
        (0xF9800020, {0: 0, 1: READS}),  # prfm pldl1keep, [x1]
        (0xC8027C20, {0: STORES, 1: READS, 2: WRITES}),  # stxr w2, x0, [x1]
        (0x9B020C20, {0: WRITES, 1: READS, 2: READS, 3: READS}),  # madd x0, x1, x2, x3
        (0xF2A00020, {0: WRITES | READS}),  # movk x0, #1, lsl #16
        (0xB3401C20, {0: WRITES | READS, 1: READS}),  # bfxil x0, x1, #0, #8
        (0xD3401C20, {0: WRITES, 1: READS}),  # ubfx x0, x1, #0, #8
        (0x9A820020, {0: WRITES, 1: READS, 2: READS, FLAGS: READS}),  # csel x0, x1, x2, eq
        (0xFA420020, {1: READS, 2: READS, FLAGS: WRITES | READS}),  # ccmp x1, x2, #0, eq
        (0xFA420820, {1: READS, 2: 0, FLAGS: WRITES | READS}),  # ccmp x1, #2, #0, eq
        (0xB5000020, {0: READS}),  # cbnz x0
        (0x1E271000, {32: WRITES, 39: 0, FLAGS: 0}),  # fmov s0, #24.0
        (0x1E602028, {33: READS, 32: 0, FLAGS: WRITES}),  # fcmp d1, #0.0
        (0x1E622020, {33: READS, 34: READS, FLAGS: WRITES}),  # fcmp d1, d2
        (0x1E18FC20, {0: WRITES, 33: READS, 32: 0}),  # fcvtzs w0, s1, #1
        (0x1E02FC20, {32: WRITES, 1: READS}),  # scvtf s0, w1, #1
        (0x9E670020, {32: WRITES, 1: READS}),  # fmov d0, x1
        (0x9E660020, {0: WRITES, 33: READS}),  # fmov x0, d1
        (0x1F020C20, {32: WRITES, 33: READS, 34: READS, 35: READS}),  # fmadd s0, s1, s2, s3
        (0x4E22CC20, {32: WRITES | READS, 33: READS, 34: READS}),  # fmla v0.4s, v1.4s, v2.4s
        (0x4FA11820, {32: WRITES | READS, 33: READS}),  # fmla v0.4s, v1.4s, v1.s[3]
        (0x0E616820, {32: WRITES, 33: READS}),  # fcvtn v0.2s, v1.2d
        (0x4C402820, {32: WRITES, 33: WRITES, 34: WRITES, 35: WRITES, 1: READS}),  # ld1 {v0.4s-v3.4s}, [x1]
        (
            0x4C9F2820,
            {32: STORES, 33: STORES, 34: STORES, 35: STORES, 1: WRITES | READS},
        ),  # st1 {v0.4s-v3.4s}, [x1], #64
        (0x0D408020, {32: WRITES | READS, 1: READS}),  # ld1 {v0.s}[0], [x1]
        (0x4D40C820, {32: WRITES, 1: READS}),  # ld1r {v0.4s}, [x1]
        (0x4E042C20, {0: WRITES, 33: READS}),  # smov x0, v1.s[0]
        (0x4E041C20, {32: WRITES | READS, 1: READS}),  # ins v0.s[0], w1
        (0x6E040420, {32: WRITES | READS, 33: READS}),  # ins v0.s[0], v1.s[0]
        (0x4E040C20, {32: WRITES, 1: READS}),  # dup v0.4s, w1
        (0x4E022020, {32: WRITES, 33: READS, 34: READS}),  # tbl v0.16b, {v1.16b, v2.16b}, v2.16b
        (0x4E021020, {32: WRITES | READS, 33: READS, 34: READS}),  # tbx v0.16b, {v1.16b}, v2.16b
        (0x6E621C20, {32: WRITES | READS, 33: READS, 34: READS}),  # bsl v0.16b, v1.16b, v2.16b
        (0x6F000400, {32: WRITES}),  # mvni v0.4s, #0
        (0x6F001420, {32: WRITES | READS}),  # bic v0.4s, #1
    ],
    ids=lambda value: f"{value:08x}" if isinstance(value, int) else "",
)
def test_an_instruction_reads_and_writes_its_registers(
    library: ctypes.CDLL, code: int, registers: dict[int, int]
) -> None:
    found = {number: library.touches(code, number) for number in range(FLAGS + 1)}
    assert {number: does for number, does in found.items() if does or number in registers} == registers
