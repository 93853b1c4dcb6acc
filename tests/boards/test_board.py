"""Board files: those that ship are valid; an invalid one is refused with one line that names the field."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyedge.boards import DEFAULT_BOARD
from tinyedge.boards.load import (
    board_file,
    board_names,
    default_board,
    known_machines,
    load_board,
    wheel_platform,
)
from tinyedge.core.errors import UsageError

ROOT = Path(__file__).parents[2]
Change = Callable[[dict[str, Any]], object]


def write(folder: Path, change: Change = lambda value: None, base: str = DEFAULT_BOARD) -> str:
    """A copy of a board's file, changed; its path."""
    value = json.loads(board_file(base).read_text())
    change(value)
    path = folder / "mine.json"
    path.write_text(json.dumps(value))
    return str(path)


def test_each_file_is_valid_and_has_the_name_of_its_board() -> None:
    assert board_names() == ["pi-3b-plus", "pi-5", "pi-zero-2w", "x86-64"]
    for name in board_names():
        assert load_board(name).name == name
        assert load_board(str(board_file(name))) == load_board(name)
    assert default_board() is load_board(DEFAULT_BOARD)
    assert known_machines() == ("aarch64", "x86_64")


def test_the_budgets_are_those_that_bundles_have_always_promised() -> None:
    pi = {"max_rss_mb": 400, "max_peak_mb": 512, "max_p95_ms": 250}
    promised = {name: load_board(name).budgets.to_dict() for name in board_names()}
    assert promised == {
        "pi-3b-plus": pi,
        "pi-5": pi,
        "pi-zero-2w": pi,
        "x86-64": {"max_rss_mb": 400, "max_peak_mb": 512, "max_p95_ms": 100},
    }
    for budgets in promised.values():
        assert all(type(value) is int for value in budgets.values())  # the manifest prints 400, not 400.0


def test_features_are_all_that_the_processor_has() -> None:
    processor = default_board().processor
    assert processor.has_feature("crc32")
    for name in ("aes", "pmull", "sha1", "sha2", "atomics", "asimddp"):
        assert not processor.has_feature(name)


def test_every_platform_tag_is_listed() -> None:
    platforms = load_board("x86-64").wheel_platform.platforms
    assert platforms[0] == "manylinux_2_36_x86_64"
    assert platforms[19:] == (
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
        "manylinux2010_x86_64",
        "manylinux1_x86_64",
        "linux_x86_64",
        "any",
    )


def test_a_platform_of_another_python_has_the_tags_of_its_architecture() -> None:
    found = wheel_platform("aarch64", ("3.12",))
    assert (found.machine, found.pythons) == ("aarch64", ("3.12",))
    assert found.platforms == default_board().wheel_platform.platforms
    assert found.abis("3.12") == ["cp312", "abi3", "none"]
    assert found.markers("3.12")["platform_machine"] == "aarch64"
    with pytest.raises(UsageError, match="there are no packages for riscv64"):
        wheel_platform("riscv64", ("3.12",))


def test_an_unknown_board_lists_the_known_ones() -> None:
    for name in ("pi-6", "../pi-zero-2w", ""):
        with pytest.raises(UsageError, match="is unknown") as failure:
            load_board(name)
        assert failure.value.hint.startswith(
            f"choose one of: {', '.join(board_names())}, or pass a JSON file"
        )
        assert failure.value.parameters == ("target",)


def test_a_file_of_ones_own_is_a_board(tmp_path: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["name"] = "mine"
        value["budgets"]["max_p95_ms"] = 80.5
        for optional in ("memory", "emulation", "cost_model", "bad_packages", "notes"):
            del value[optional]

    board = load_board(write(tmp_path, change))
    assert (board.name, board.budgets.max_p95_ms) == ("mine", 80.5)
    assert (board.memory, board.emulation, board.cost_model, board.bad_packages) == (None, None, None, ())


def put(*keys: str, value: Any) -> Change:
    """A change of one field."""

    def change(board: dict[str, Any]) -> None:
        for key in keys[:-1]:
            board = board[key]
        board[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("schema", value="tinyedge.board/2"), "schema is 'tinyedge.board/2', expected"),
        (lambda board: board.pop("budgets"), "budgets is missing"),
        (lambda board: board["budgets"].pop("max_rss_mb"), r"budgets\.max_rss_mb is missing"),
        (put("max_p95_ms", value=1), "'max_p95_ms' is unknown, expected one of name, title, "),
        (put("budgets", "p95", value=1), r"budgets\.'p95' is unknown"),
        (put("budgets", value=[]), r"budgets is \[\], expected an object"),
        (put("budgets", "max_p95_ms", value="1"), r"budgets\.max_p95_ms is '1', expected a number"),
        (put("budgets", "max_p95_ms", value=True), r"budgets\.max_p95_ms is True, expected a number"),
        (put("budgets", "max_p95_ms", value=0), r"budgets\.max_p95_ms is 0, expected a number above 0"),
        (put("budgets", "max_p95_ms", value=-1), r"budgets\.max_p95_ms is -1, expected"),
        (
            put("budgets", "max_rss_mb", value=513),
            r"budgets\.max_rss_mb is 513, expected budgets\.max_peak_mb \(512\) or",
        ),
        (
            put("budgets", "max_peak_mb", value=600),
            r"budgets\.max_peak_mb is 600, expected memory\.ram_mb \(512\) or less",
        ),
        (put("name", value="My Board"), "name is 'My Board', expected lowercase letters"),
        (put("name", value="x\x1b[2J"), r"name is 'x\\x1b\[2J', expected"),
        (put("title", value=""), "title is '', expected a printable text"),
        (put("processor", "features", value="asimd"), r"processor\.features is 'asimd', expected a list"),
        (put("processor", "features", value=[1]), r"processor\.features\[0\] is 1, expected a text"),
        (put("processor", "cores", value=2.5), r"processor\.cores is 2\.5, expected an integer"),
        (put("processor", "cores", value=0), r"processor\.cores is 0, expected 1 or more"),
        (
            put("memory", "usable_mb", value=600),
            r"memory\.usable_mb is 600, expected memory\.ram_mb \(512\) or less",
        ),
        (put("debian", value={}), r"debian is \{\}, expected"),
        (
            put("debian", "bookworm", value="2.7"),
            "debian is an object, expected suites with versions of Python",
        ),
        (put("wheels", "newest_glibc", value="3"), r"wheels\.newest_glibc is '3', expected"),
        (put("bad_packages", value=[{}]), r"bad_packages\[0\]\.package is missing"),
        (put("emulation", "memory_mb", value=0), r"emulation\.memory_mb is 0, expected"),
        (put("cost_model", "latency_model", "margin", value=0.9), r"latency_model\.margin is 0\.9, expected"),
        (
            put("cost_model", "core_cycles", "passes", value=-1),
            r"cost_model\.core_cycles\.passes is -1, expected a number from 0 to",
        ),
        (
            put("cost_model", "core_cycles", "passes", value=None),
            r"core_cycles\.passes is None, expected a",
        ),
        (put("cost_model", "prompt_tokens", value=[]), r"cost_model\.prompt_tokens is \(\), expected"),
        (
            put("budgets", "max_p95_ms", value=1e300),
            r"budgets\.max_p95_ms is 1e\+300, expected a number above 0, at most 1e\+09",
        ),
        (put("budgets", "max_rss_mb", value=10**400), r"budgets\.max_rss_mb is 10+\.\.\., expected a number"),
        (put("processor", "cores", value=10**400), r"processor\.cores is 10+\.\.\., expected an integer"),
        (
            put("processor", "cores", value=4097),
            r"processor\.cores is 4097, expected 1 or more, at most 4096",
        ),
        (put("processor", "midr", value="0x41"), r"processor\.midr is '0x41', expected a register"),
        (put("processor", "midr", value=5), r"processor\.midr is 5, expected a text"),
        (put("processor", "max_mhz", value=0), r"processor\.max_mhz is 0, expected a number above 0"),
        (
            put("processor", "min_mhz", value=1001),
            r"processor\.min_mhz is 1001, expected processor\.max_mhz \(1000\) or less",
        ),
        (put("processor", "caches", value=[{}]), r"processor\.caches\[0\]\.level is missing"),
        (
            put("processor", "caches", value=[{"level": 1, "kind": "data", "size_kb": 32, "ways": 0}]),
            r"processor\.caches\[0\]\.ways is 0, expected a number above 0",
        ),
        (
            put("processor", "caches", value=[{"level": 1, "kind": "Data", "size_kb": 32, "ways": 4}]),
            r"processor\.caches\[0\]\.kind is 'Data', expected one of data, instruction, unified",
        ),
        (put("storage", "mb_per_s", value=0), r"storage\.mb_per_s is 0, expected a number above 0"),
        (put("device_tree", value=""), r"device_tree is '', expected a printable text"),
        (put("memory", "ram_mb", value=10**10), r"memory\.ram_mb is 10000000000, expected"),
        (put("emulation", "memory_mb", value=10**10), r"emulation\.memory_mb is 10000000000, expected"),
        (
            put("cost_model", "latency_model", "clock_mhz", value=1e13),
            r"latency_model\.clock_mhz is 10000000000000\.0, expected a number from 1 to 1e\+12",
        ),
        (
            put("cost_model", "latency_model", "clock_mhz", value=1e-300),
            r"latency_model\.clock_mhz is 1e-300, expected a number from 1 to",
        ),
        (
            put("cost_model", "latency_model", "core", "cycles_per_l1_miss", value=-1),
            r"latency_model\.core\.cycles_per_l1_miss is -1, expected a number from 0 to",
        ),
        (
            put("cost_model", "latency_model", "random_line", "ns", value=2e12),
            r"latency_model\.random_line\.ns is 2000000000000\.0, expected a number from 0 to",
        ),
        (
            put("cost_model", "latency_model", "streamed_line", value={"cycles": 0, "ns": 0}),
            r"latency_model\.streamed_line is .*, expected cycles and ns that are 0.0001",
        ),
        (
            put("cost_model", "latency_model", "written_line", value={"ns": 1}),
            r"written_line\.cycles is missing",
        ),
        (
            put("cost_model", "threads", "ns_per_shared_line", value=0),
            r"threads\.ns_per_shared_line is 0, expected a number above 0",
        ),
        (
            put("cost_model", "latency_model", "margin", value=1001),
            r"latency_model\.margin is 1001, expected",
        ),
        (
            put("cost_model", "latency_model", "error_percent", value=1e300),
            r"latency_model\.error_percent is 1e\+300, expected",
        ),
        (
            put("cost_model", "memory_ns", "passes", value=2e12),
            r"memory_ns\.passes is 2000000000000\.0, expected a number from 0 to 1e\+12",
        ),
        (put("cost_model", "peak_bytes", value={}), r"cost_model\.peak_bytes is \{\}, expected"),
        (
            put("cost_model", "peak_bytes", "\x1b[2J\n", value=-1),
            r"peak_bytes\.'\\x1b\[2J\\n' is -1, expected",
        ),
        (
            put("cost_model", "prompt_tokens", value=[7] * 65),
            r"cost_model\.prompt_tokens is \(7, .*, expected 1 to 64 lengths",
        ),
        (
            put("cost_model", "prompt_tokens", value=[7, 513]),
            r"cost_model\.prompt_tokens\[1\] is 513, expected a length of 1 to 512",
        ),
        (
            put("cost_model", "source", "errors_percent", "held_out", "p95", "worst", value=-1e300),
            r"errors_percent\.held_out\.p95\.worst is -1e\+300, expected",
        ),
        (
            put("cost_model", "source", "errors_percent", "fitted", "response", "n", value=-1),
            r"errors_percent\.fitted\.response\.n is -1, expected",
        ),
        (
            put("processor", "machine", value="riscv64"),
            r"processor\.machine is 'riscv64', expected one of aarch64, x86_64",
        ),
        (put("title", value="x" * 101), "title is 'x+\\.\\.\\., expected a printable text of 1 to 100"),
        (
            put("wheels", "oldest_glibc", value="2.37"),
            r"wheels\.oldest_glibc is '2\.37', expected wheels\.newest_glibc \(2\.36\) or older",
        ),
        (
            put("wheels", "legacy", value=["manylinux2014", "many linux"]),
            r"wheels\.legacy\[1\] is 'many linux', expected lowercase letters, digits",
        ),
        (
            put("debian", "Book worm", value="3.11"),
            "the name of a suite in debian is 'Book worm', expected lowercase letters, digits",
        ),
        (put("debian", "a\nb", value=3), r"debian\.'a\\nb' is 3, expected a text"),
        (put("name", value="mine"), r"source\.board is 'pi-zero-2w', expected 'mine': leave out another"),
        (
            put("cost_model", "source", "errors_percent", value={}),
            r"source\.errors_percent\.fitted is missing",
        ),
    ],
)
def test_an_invalid_file_is_refused_with_one_line(tmp_path: Path, change: Change, message: str) -> None:
    path = write(tmp_path, change)
    with pytest.raises(UsageError, match=message) as failure:
        load_board(path)
    assert failure.value.message.startswith(path)
    assert "\n" not in failure.value.message


def test_files_that_are_not_json_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    for content, message in (
        (b"", "is empty"),
        (b"{", "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[" * 100_000, "is not valid JSON"),
        (b" " * (1 << 20) + b"{}", "is larger than"),
    ):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=message):
            load_board(str(path))
    with pytest.raises(UsageError, match="does not exist"):
        load_board(str(tmp_path / "none.json"))
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        load_board(str(tmp_path / "folder.json"))


def test_numbers_beyond_floats_are_refused(tmp_path: Path) -> None:
    path = Path(write(tmp_path))
    text = path.read_text()
    path.write_text(text.replace('"max_p95_ms": 250', '"max_p95_ms": 1e999'))
    with pytest.raises(UsageError, match=r"budgets\.max_p95_ms is inf, expected a number"):
        load_board(str(path))


def test_a_field_that_appears_twice_is_refused(tmp_path: Path) -> None:
    path = Path(write(tmp_path))
    text = path.read_text()
    for twice, message in (
        (text.replace('"budgets":', '"title": "again", "budgets":'), "the field 'title' appears twice"),
        (
            text.replace('"max_p95_ms": 250', '"max_p95_ms": 250, "max_p95_ms": 9'),
            "'max_p95_ms' appears twice",
        ),
    ):
        assert twice != text
        path.write_text(twice)
        with pytest.raises(UsageError, match=message) as failure:
            load_board(str(path))
        assert failure.value.message.startswith(str(path))


def test_a_file_that_is_not_an_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("[1]")
    with pytest.raises(UsageError, match=r"the file is \[1\], expected an object"):
        load_board(str(path))


@pytest.mark.parametrize("name", ["a" * 5000, "a" * 300 + ".json"])
def test_a_path_that_the_system_refuses_is_an_invalid_target(name: str) -> None:
    with pytest.raises(UsageError, match=r"target a+\.\.\. cannot be read: File name too long") as failure:
        load_board(name)
    assert failure.value.parameters == ("target",)
    assert len(failure.value.message) < 300


def test_no_number_of_a_board_is_typed_again_with_another_value() -> None:
    """Files that cannot read JSON repeat some numbers; here they are compared with the board's."""
    budgets = default_board().budgets
    alerts = (ROOT / "export" / "deploy" / "alerts.yml").read_text()
    for expression in (
        f"tinyedge_response_p95_seconds > {budgets.max_p95_ms / 1000:g}",
        f"tinyedge_rss_bytes + tinyedge_swap_bytes > {budgets.max_rss_mb} * 1024 * 1024",
        f"tinyedge_peak_rss_bytes > {budgets.max_peak_mb} * 1024 * 1024",
    ):
        assert expression in alerts
    (bad,) = default_board().bad_packages
    assert f"{bad.package}>=1.20,!={bad.version}" in (ROOT / "pyproject.toml").read_text()


def test_only_the_standard_library_and_core_are_imported() -> None:
    code = (
        "import sys\nfrom tinyedge.boards.load import default_board\ndefault_board()\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('tinyedge.')}\n"
        "assert rooms == {'boards', 'core'}, rooms\n"
        "assert not {'numpy', 'onnxruntime', 'torch', 'typer', 'sentencepiece', 'tomllib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_generate_and_the_worker_do_not_import_boards() -> None:
    code = "import sys\nimport {}\nassert not [name for name in sys.modules if 'boards' in name]"
    for module in ("tinyedge.cli.main, tinyedge.cli.generate, tinyedge.runtime", "tinyedge.bench.worker"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(module)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
