"""The counter's model of caches, streams and branches, compiled for this machine."""

import ctypes
import random
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from bench.twin.counts import Figures
from bench.twin.layout import BOARD, SOURCES

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, `cc`")
COUNTER = SOURCES / "counter"
LINE = 64
SOMEWHERE = 1 << 32  # an address, far from 0
L1_SETS, L1_WAYS = 128, 4
FETCH_SETS, FETCH_WAYS = 256, 2
L2_SETS, L2_WAYS = 512, 16
SHIM = """
#include "core.h"
#include <stdlib.h>
static Core *cores;
void start(int count) { cores = calloc((size_t)count, sizeof *cores); }
void access_one(int core, uint64_t address, unsigned bytes, bool is_store, bool keeps) {
    access_data(&cores[core], address, bytes, is_store, keeps);
}
void fetch(uint64_t begin, uint64_t end) { fetch_code(&cores[0], begin, end); }
void branch(uint64_t address, bool is_taken) { resolve_conditional(&cores[0], address, is_taken); }
void jump(uint64_t address, uint64_t target) { resolve_indirect(&cores[0], address, target); }
void pass_cycles(int core, uint64_t cycles) { cores[core].counts[CYCLES] += cycles; }
void replay(int count, const uint64_t *since) { replay_misses(cores, count, since); }
uint64_t count_of(int core, int number) { return cores[core].counts[number]; }
int columns(void) { return COUNTS; }
"""


class Counter:
    """Cores that share a second cache."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.library.count_of.restype = ctypes.c_uint64
        self.library.start(4)

    def counts(self, core: int = 0) -> Figures:
        return Figures(*(self.library.count_of(core, number) for number in range(self.library.columns())))

    def access(
        self, address: int, size: int = 8, store: bool = False, core: int = 0, keeps: bool = False
    ) -> None:
        self.library.access_one(core, ctypes.c_uint64(address), size, store, keeps)

    def lines(self, numbers: Iterable[int], store: bool = False) -> Figures:
        """Access lines, and return what that counts."""
        before = self.counts()
        for number in numbers:
            self.access(SOMEWHERE + LINE * number, store=store)
        return self.counts() - before

    def branches(self, outcomes: Iterable[bool], address: int = SOMEWHERE) -> float:
        """Mispredictions of a branch."""
        before = self.counts()
        for is_taken in outcomes:
            self.library.branch(ctypes.c_uint64(address), is_taken)
        return (self.counts() - before).mispredictions


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("core")
    (folder / "shim.c").write_text(SHIM)
    subprocess.run(
        ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", f"-I{COUNTER}",
         folder / "shim.c", COUNTER / "core.c", "-o", folder / "core.so"],
        check=True,
    )  # fmt: skip
    return folder / "core.so"


@pytest.fixture
def counter(compiled: Path, tmp_path: Path) -> Counter:
    """A copy of the library for each test: its second cache is empty."""
    return Counter(ctypes.CDLL(str(shutil.copy(compiled, tmp_path / "core.so"))))


def test_the_columns_are_the_fields_of_the_figures(counter: Counter) -> None:
    assert counter.library.columns() == len(Figures.__dataclass_fields__)
    counter.library.pass_cycles(0, 7)
    assert counter.counts() == Figures(pipeline_cycles=7)


def test_the_caches_are_those_of_the_board() -> None:
    sizes = [(cache.size_kb << 10, cache.ways) for cache in BOARD.processor.caches]
    counted = [(L1_SETS, L1_WAYS), (FETCH_SETS, FETCH_WAYS), (L2_SETS, L2_WAYS)]
    assert sizes == [(sets * ways * LINE, ways) for sets, ways in counted]


def test_a_line_is_loaded_once(counter: Counter) -> None:
    assert counter.lines([0]) == Figures(random_lines=1)
    for offset in (0, 8, 56):
        counter.access(SOMEWHERE + offset)
    counter.access(SOMEWHERE + 60, size=4)
    assert counter.counts() == Figures(random_lines=1)


def test_an_access_across_two_lines_loads_both(counter: Counter) -> None:
    counter.access(SOMEWHERE + 60)
    assert counter.counts().dram_lines == 2
    assert counter.lines([0, 1]) == Figures()


def test_the_first_cache_evicts_the_line_that_was_used_least_recently(counter: Counter) -> None:
    same_set = [number * L1_SETS for number in range(L1_WAYS + 1)]
    assert counter.lines(same_set[:4]) == Figures(random_lines=4)
    assert counter.lines(same_set[:4]) == Figures()
    assert counter.lines(same_set[:1]) == Figures()  # the second is now the oldest
    assert counter.lines(same_set[4:]) == Figures(random_lines=1)
    assert counter.lines([same_set[0], *same_set[2:]]) == Figures()
    assert counter.lines([same_set[1]]) == Figures(l1_misses=1)  # the second cache has it
    assert counter.lines([same_set[1] + 1]) == Figures(random_lines=1)  # another set


def test_the_second_cache_evicts_the_line_that_was_used_least_recently(counter: Counter) -> None:
    same_set = [number * L2_SETS for number in range(L2_WAYS + 1)]
    assert counter.lines(same_set[:16]) == Figures(random_lines=16)
    assert counter.lines(same_set[:12]) == Figures(l1_misses=12)
    assert counter.lines(same_set[16:]) == Figures(random_lines=1)  # instead of number 12
    assert counter.lines([same_set[13]]) == Figures(l1_misses=1)
    assert counter.lines([same_set[12]]) == Figures(random_lines=1)


def test_a_block_of_memory_fits_a_cache_or_not(counter: Counter) -> None:
    for size_kb, again in ((32, "none"), (512, "l1_misses"), (1024, "dram_lines")):
        lines = range(size_kb << 20, (size_kb << 20) + (size_kb << 10) // LINE)
        first, second = counter.lines(lines), counter.lines(lines)
        assert first.dram_lines == len(lines)
        assert second == Figures() if again == "none" else getattr(second, again) == len(lines)


@pytest.mark.parametrize("step", [1, -1, 2, -2, 3, 4, -4])
def test_the_third_line_in_order_is_streamed(counter: Counter, step: int) -> None:
    assert counter.lines([1000, 1000 + step]) == Figures(random_lines=2)
    assert counter.lines([1000 + 2 * step]) == Figures(streamed_lines=1)
    assert counter.lines(range(1000 + 3 * step, 1000 + 20 * step, step)) == Figures(streamed_lines=17)


def test_lines_in_random_order_or_far_apart_are_not_streamed(counter: Counter) -> None:
    numbers = list(range(0, 100_000, 50))
    random.Random(1).shuffle(numbers)
    assert counter.lines(numbers) == Figures(random_lines=len(numbers))
    assert counter.lines(range(1_000_000, 1_000_500, 5)) == Figures(random_lines=100)
    changing = [2_000_000, 2_000_001, 2_000_003, 2_000_004, 2_000_006]  # steps of 1, 2, 1, 2
    assert counter.lines(changing) == Figures(random_lines=5)


@pytest.mark.parametrize(
    ("count", "kind"), [(1, "streamed"), (2, "streamed"), (3, "crowded"), (8, "crowded"), (9, "random")]
)
def test_two_streams_are_followed_and_lines_of_up_to_eight_are_crowded(
    counter: Counter, count: int, kind: str
) -> None:
    starts = [1_000_000 + stream * 1001 for stream in range(count)]
    begun = counter.lines(start + step for step in range(2) for start in starts)
    assert begun == Figures(random_lines=2 * count)
    found = counter.lines(start + step for step in range(2, 12) for start in starts)
    assert found == Figures(**{f"{kind}_lines": 10 * count})


def test_a_changed_line_is_written_back_once_it_leaves_the_second_cache(counter: Counter) -> None:
    changed = range(10)
    assert counter.lines(changed, store=True) == Figures()  # the core does not wait for what it overwrites
    assert counter.lines(changed) == Figures()
    assert counter.lines([10]) == Figures(streamed_lines=1)  # stores are part of a stream
    others = range(1 << 20, (1 << 20) + 2 * L2_SETS * L2_WAYS)
    assert counter.lines(others).written_lines == len(changed)
    assert counter.lines(others).written_lines == 0


def test_a_line_that_was_only_read_is_not_written_back(counter: Counter) -> None:
    counter.lines(range(10))
    assert counter.lines(range(1 << 20, (1 << 20) + 2 * L2_SETS * L2_WAYS)).written_lines == 0


def test_code_has_a_first_cache_of_its_own(counter: Counter) -> None:
    def fetch(*lines: int) -> Figures:
        before = counter.counts()
        for line in lines:
            start = SOMEWHERE + LINE * line
            counter.library.fetch(ctypes.c_uint64(start + 4), ctypes.c_uint64(start + 60))
        return counter.counts() - before

    assert fetch(0) == Figures(random_lines=1)
    assert fetch(0, 0) == Figures()
    same_set = [number * FETCH_SETS for number in range(FETCH_WAYS + 1)]
    assert fetch(*same_set) == Figures(random_lines=FETCH_WAYS)
    assert fetch(*same_set * 4) == Figures(fetch_misses=12)  # three lines in turn in two ways
    assert counter.lines([0]) == Figures(l1_misses=1)  # as data
    counter.library.fetch(ctypes.c_uint64(SOMEWHERE + 60), ctypes.c_uint64(SOMEWHERE + 4 * LINE))
    assert counter.counts().random_lines == 1 + FETCH_WAYS + 3  # lines 1 to 3 of a block across four


def test_a_regular_loop_is_predicted(counter: Counter) -> None:
    short, long = ([True] * (turns - 1) + [False] for turns in (5, 50))
    for loop, each_time in ((short, 0), (long, 1)):
        counter.branches(loop * 100)
        assert counter.branches(loop * 100) == 100 * each_time
    counter.branches([True] * 100)
    assert counter.branches([True] * 1000) == 0


def test_a_random_branch_is_mispredicted_every_other_time(counter: Counter) -> None:
    draws = random.Random(2)
    assert 4500 < counter.branches(draws.random() < 0.5 for _ in range(10_000)) < 5500
    rarely = counter.branches((draws.random() < 0.05 for _ in range(10_000)), SOMEWHERE + 4096)
    assert 400 < rarely < 1500


def test_an_indirect_jump_goes_where_it_went_after_the_same_branches(counter: Counter) -> None:
    def jump(target: int) -> None:
        counter.library.jump(ctypes.c_uint64(SOMEWHERE), ctypes.c_uint64(target))

    for _ in range(10):
        jump(4096)
    assert counter.counts().mispredictions == 1
    for number in range(10):
        jump(8192 + number % 2 * 4)
    assert counter.counts().mispredictions == 11
    for turn in range(200):
        counter.library.branch(ctypes.c_uint64(SOMEWHERE + 64), turn % 2 == 0)
        if turn == 100:
            learned = counter.counts().mispredictions
        jump(8192 + turn % 2 * 4)
    assert counter.counts().mispredictions == learned


def test_cores_that_are_played_in_turn_meet_the_second_cache_in_the_order_of_time(counter: Counter) -> None:
    since = (ctypes.c_uint64 * 4)(0, 1000, 0, 0)
    counter.library.pass_cycles(1, 1000)  # from before the region
    for core, delay in ((0, 100), (1, 50)):
        counter.library.pass_cycles(core, delay)
        counter.access(SOMEWHERE, core=core, keeps=True)
        counter.access(SOMEWHERE, core=core, keeps=True)  # its own first cache has it
        counter.library.pass_cycles(core, 100)
        counter.access(SOMEWHERE + 1000 * LINE * (core + 1), store=True, core=core, keeps=True)
    assert [counter.counts(core).dram_lines for core in (0, 1)] == [0, 0]
    counter.library.replay(4, since)
    first, second = counter.counts(0), counter.counts(1)
    assert (first.l1_misses, first.random_lines) == (1, 0)
    assert (second.l1_misses, second.random_lines) == (0, 1)
    counter.library.replay(4, since)
    assert (counter.counts(0), counter.counts(1)) == (first, second)


def test_cores_that_miss_at_the_same_time_follow_each_other(counter: Counter) -> None:
    since = (ctypes.c_uint64 * 4)()
    for core in (3, 1, 2):
        for line in range(2000):
            counter.access(SOMEWHERE + LINE * line, core=core, keeps=True)
    counter.library.replay(4, since)
    counted = [counter.counts(core) for core in range(4)]
    assert counted[0] == Figures()
    assert (counted[1].random_lines, counted[1].streamed_lines, counted[1].l1_misses) == (2, 1998, 0)
    assert [(one.dram_lines, one.l1_misses) for one in counted[2:]] == [(0, 2000), (0, 2000)]
