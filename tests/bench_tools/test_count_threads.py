"""Regions that one thread plays: how they are read, what is cut out of them, and what is kept."""

from pathlib import Path

import pytest

from bench.twin.counts import Counts, Figures, parse_counts
from bench.twin.layout import TwinError
from bench.twin.published.count import save, select
from bench.twin.threads.count_threads import SCHEMA, SharedCounts, share

# A region in the warm-up, before the second mark; after it one of three cores, and one of two.
LOG = """\
mark 0 100 110 1 2 3 4 0 5 6
begin 0 150 160 1 2 3 4 0 5 6
end 0 250 260 1 2 3 4 0 5 6
end 1 90 80 0 0 0 1 0 0 0
mark 0 300 300 1 2 3 4 0 5 6
begin 0 310 310 1 2 3 4 0 5 6
end 0 410 420 1 2 3 4 0 5 6
end 1 290 380 0 0 0 1 0 0 0
end 2 7 8 0 0 0 0 0 0 90
begin 0 440 450 1 2 3 4 0 5 6
end 0 500 550 1 2 3 4 0 5 6
end 1 340 390 0 0 0 1 0 0 0
end 2 7 8 0 0 0 0 0 0 90
mark 0 1000 1100 1 2 3 4 0 5 6
total 0 1200 1300 1 2 3 4 0 5 6
total 1 340 390 0 0 0 1 0 0 0
total 2 7 8 0 0 0 0 0 0 90
"""


@pytest.fixture
def counts() -> Counts:
    return parse_counts(LOG)


def make(instructions: int, cycles: int, written: int = 0) -> Figures:
    return Figures(instructions, cycles, written_lines=written)


def test_a_region_has_what_each_core_did_in_it(counts: Counts) -> None:
    warm_up, first, second = counts.regions
    assert warm_up.begin == Figures(150, 160, 1, 2, 3, 4, 0, 5, 6)
    assert warm_up.cores == (make(100, 100), Figures(90, 80, streamed_lines=1))
    assert first.cores == (make(100, 110), make(200, 300), make(7, 8, written=90))
    assert second.cores == (make(60, 100), make(50, 10))  # a core that did nothing is left out


def test_the_total_is_that_of_all_cores(counts: Counts) -> None:
    assert counts.total == Figures(1547, 1698, 1, 2, 3, 5, 0, 5, 96)


def test_what_threads_do_is_that_between_the_last_marks(counts: Counts) -> None:
    (program,) = select(["ncnn-20220216/squeezenet"])
    marked = Counts(counts.total, 0, 0, counts.marks, (), (), counts.regions)
    shared = share(program, marked)
    assert shared.forks == 2
    assert shared.divided == make(417, 528, written=90)
    assert shared.busiest == make(67, 108, written=90)  # core 2, which waits for memory; then core 0
    # From mark to mark, without the cost of a mark, and without core 0 in the regions.
    assert shared.serial == make(1000 - 300 - 200 - 160, 1100 - 300 - 190 - 210)
    assert SharedCounts.from_row(shared.to_row()) == shared
    alone = Counts(counts.total, 0, 0, counts.marks, (), ())
    with pytest.raises(TwinError, match="squeezenet divides nothing"):
        share(program, alone)


def test_programs_that_cannot_use_threads_are_left_out() -> None:
    assert {program.name.partition("-")[0] for program in select([], threads=4)} == {"ncnn"}
    with pytest.raises(TwinError, match="none of these programs can use threads"):
        select(["memory/"], threads=2)


def test_the_guest_plays_several_threads_and_only_them(tmp_path: Path) -> None:
    (tmp_path / "ncnn-20220216" / "ncnn").mkdir(parents=True)
    (tmp_path / "ncnn-20220216" / "ncnn" / "ncnn.1.so").touch()
    (program,) = select(["ncnn-20220216/squeezenet"])
    assert program.run(tmp_path, 1).variables == {}
    assert program.run(tmp_path, 4).variables == {"QEMU_SET_ENV": f"LD_PRELOAD={tmp_path / 'team.so'}"}


def test_counts_with_several_threads_have_a_schema_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    save(path, SCHEMA, {"a": {"forks": 1}}, {"plugin": "1"}, threads=4)
    with pytest.raises(TwinError, match="has schema"):
        save(path, "tinyedge.published-counts/1", {}, {"plugin": "1"}, threads=1)
