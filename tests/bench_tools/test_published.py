"""The published measurements, and how a unit of work is cut out of a counted run."""

from pathlib import Path

import pytest

from bench.twin.counts import Counts, parse_counts
from bench.twin.layout import Twin, TwinError, UnavailableError
from bench.twin.published.collect import parse_networks, parse_result
from bench.twin.published.count import SCHEMA, save, select
from bench.twin.published.measurements import load_measurements
from bench.twin.published.prepare import copy_networks
from bench.twin.published.programs import SEVEN_ZIP_BYTES, SEVEN_ZIP_MARKS, list_programs
from bench.twin.user_emulation import Guest
from tinyedge.core import files

README = """\
### Another board
  squeezenet  min =  1.00  max =  1.00  avg =  1.00
### The board (1.0GHz x 4)
num_threads = 4
          squeezenet  min =  119.52  max =  120.29  avg =  119.93
num_threads = 1
          squeezenet  min =  240.53  max =  241.07  avg =  240.77
    yolo-fastest-1.1  min =  155.04  max =  155.98  avg =  155.53
### Next
  squeezenet  min =  2.00  max =  2.00  avg =  2.00
"""
RESULT = """\
 standard memcpy                                      :   1250.0 MB/s (2.6%)
 NEON read                                            :   2000.0 MB/s
 NEON read prefetched (32 bytes step)                 :      1.0 MB/s
     65536 :    6.4 ns          /    11.0 ns
aes-128-cbc      23909.74k    33846.87k    38027.18k    38932.48k    39589.21k    40000.00k
aes-128-cbc      23814.01k    33955.63k    37929.56k    38979.58k    39359.83k    50000.00k
aes-192-cbc      1.0k    1.0k    1.0k    1.0k    1.0k    1.0k
aes-256-cbc      1.0k    1.0k    1.0k    1.0k    1.0k    1.0k
22:        588   100    573    572  |      12907   100   1103   1101
22:       1712   310    538   1666  |      51912   398   1114   4429
"""


def counts_of(marks: list[int]) -> Counts:
    lines = [f"mark 0 {instructions} 0 0 0 0 0 0 0" for instructions in marks]
    return parse_counts("\n".join([*lines, "total 0 9 0 0 0 0 0 0 0"]))


def test_every_measurement_names_a_program_a_source_and_one_kind_of_cost() -> None:
    sources, measurements = load_measurements()
    programs = list_programs()
    assert len({measurement.name for measurement in measurements}) == len(measurements) == 278
    for measurement in measurements:
        assert measurement.program in programs
        assert measurement.source in sources
        assert (measurement.ns is None) != (measurement.cycles is None)
        assert (measurement.clock_mhz is None) == (measurement.ns is None)
        assert measurement.threads == 1 or programs[measurement.program].threaded
    assert {measurement.program for measurement in measurements} == set(programs)


def test_figures_of_the_file_are_those_of_the_sources() -> None:
    by_name = {measurement.name: measurement for measurement in load_measurements()[1]}
    assert by_name["ncnn-zero-2w-2022/squeezenet/1"].ns == 240_770_000
    assert by_name["ncnn-3b-plus-2023/FastestDet/4"].value == 67.98
    assert by_name["sbc-bench-3E85/memory/random-read-8388608"].ns == 157.4
    assert by_name["sbc-bench-3Dfo/memory/neon-read-prefetched"].value == 1535.2
    assert by_name["openssl/chacha20-neon"].cycles == 4.72


def test_a_table_of_networks_is_that_of_its_board() -> None:
    assert list(parse_networks(README, "The board")) == [
        ("squeezenet", 4, 119.93, 119.52), ("squeezenet", 1, 240.77, 240.53),
        ("yolo-fastest-1.1", 1, 155.53, 155.04),
    ]  # fmt: skip


def test_a_result_of_sbc_bench_becomes_times_of_a_unit_of_work() -> None:
    rows = {name: (value, ns, comparable) for name, _, value, _, ns, _, comparable, _ in parse_result(RESULT)}
    expected = {
        "memory/memcpy": (1250, 0.8, True),
        "memory/neon-read": (2000, 0.5, True),
        "memory/random-read-65536": (6.4, 6.4, True),
        "openssl/aes-128-cbc": (45000, 1e6 / 45000, False),
        "7zip/decompress": (12907, 1e9 / (1024 * 12907), True),
    }
    assert {name: rows[name] for name in expected} == expected
    assert "memory/memset" not in rows


def test_a_unit_of_work_is_cut_between_the_right_marks() -> None:
    programs = list_programs()
    assert programs["ncnn-20220216/squeezenet"].cut(counts_of([5, 7, 109])).instructions == 100
    read = programs["memory/random-read-65536"].cut(counts_of([0, 0, 1_000_000, 5_000_000]))
    assert read.instructions == 3
    marks = [SEVEN_ZIP_BYTES * mark for mark in range(SEVEN_ZIP_MARKS)]
    assert programs["7zip/compress"].cut(counts_of(marks)).instructions == 33
    assert programs["7zip/decompress"].cut(counts_of(marks)).instructions == 2
    with pytest.raises(TwinError, match="set 47 marks instead of 48"):
        programs["7zip/compress"].cut(counts_of(marks[:-1]))


def test_programs_are_selected_by_name_or_its_beginning() -> None:
    assert [program.name for program in select(["7zip/"])] == ["7zip/compress", "7zip/decompress"]
    assert [program.name for program in select(["ncnn-20220216/squeezenet"])] == ["ncnn-20220216/squeezenet"]
    assert len(select([])) == len(list_programs())
    with pytest.raises(TwinError, match="no program xz"):
        select(["xz"])


def test_counts_of_other_versions_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    save(path, SCHEMA, {"a": {"instructions": 1}}, {"plugin": "1"}, threads=1)
    save(path, SCHEMA, {"b": {"instructions": 2}}, {"plugin": "1"}, threads=4)
    assert files.read_json(path, SCHEMA, TwinError)["counts"] == {
        "1": {"a": {"instructions": 1}}, "4": {"b": {"instructions": 2}}
    }  # fmt: skip
    save(path, SCHEMA, {"a": {"instructions": 3}}, {"plugin": "2"}, threads=1)
    assert files.read_json(path, SCHEMA, TwinError)["counts"] == {"1": {"a": {"instructions": 3}}}


def test_networks_need_a_clone_that_has_the_tag(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="networks of ncnn's benchmark are missing"):
        copy_networks(None, "20220216", tmp_path / "networks")
    with pytest.raises(TwinError, match="has no benchmark of 20220216"):
        copy_networks(tmp_path, "20220216", tmp_path / "networks")
    assert not (tmp_path / "networks").exists()


def test_a_guest_can_run_another_program_in_another_root(tmp_path: Path) -> None:
    command = Guest(Twin(tmp_path), root=Path("/other"), executable="/usr/bin/7zr").command(["b"])
    assert command[command.index("-L") + 1] == "/other"
    assert command[-4:] == ["-0", "/usr/bin/7zr", "/other/usr/bin/7zr", "b"]
