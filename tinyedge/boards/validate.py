"""Ranges of a board's values, and fields that depend on each other.

In: a `Board` whose fields have the declared types. Out: nothing, or a DecodeError that names the field. Does
not know files.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from tinyedge.boards.board import Board, CostData, ErrorSummary, Processor
from tinyedge.boards.from_json import mismatch, show_key
from tinyedge.core.config import MODEL_RANGES

# The name is printed, and stands in every manifest, kit and report.
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_TITLE: Final = 100  # characters
MACHINES: Final = ("aarch64", "x86_64")
PYTHON_VERSION: Final = re.compile(r"3\.[0-9]{1,2}")
MIDR: Final = re.compile(r"0x[0-9a-f]{8}")
CACHE_KINDS: Final = ("data", "instruction", "unified")
GLIBC_VERSION: Final = re.compile(r"2\.([0-9]{1,3})")
TAG: Final = re.compile(r"[a-z0-9_.]+")  # a Debian suite, or the system in a wheel's platform tag
# Larger numbers are mistakes. With these bounds no product of a cost model exceeds a float, and each budget
# is below the limit of a manifest.
MAX_AMOUNT: Final = 1e9  # of MB or ms
MAX_COEFFICIENT: Final = 1e12
MIN_CLOCK_MHZ: Final = 1
MIN_LINE_COST: Final = 1e-4  # cycles and ns, so that a calibration can divide by it
MAX_FACTOR: Final = 1000  # of a margin
MAX_CORES: Final = 4096
MAX_PROMPTS: Final = 64
MAX_PROMPT_TOKENS: Final = int(MODEL_RANGES["max_seq_length"][1])


def validate(board: Board) -> None:
    """Check the values of a board.

    Raises:
        DecodeError: For the first field that is outside its range, or contradicts another one.
    """
    name = "lowercase letters, digits, '.', '_' and '-', up to 64"
    _require("name", board.name, bool(NAME.fullmatch(board.name)), name)
    has_title = board.title.isprintable() and 0 < len(board.title) <= MAX_TITLE
    _require("title", board.title, has_title, f"a printable text of 1 to {MAX_TITLE} characters")
    machine = board.processor.machine
    _require("processor.machine", machine, machine in MACHINES, f"one of {', '.join(MACHINES)}")
    _validate_processor(board.processor)
    if board.device_tree is not None:
        is_model = board.device_tree.isprintable() and 0 < len(board.device_tree) <= MAX_TITLE
        expected = f"a printable text of 1 to {MAX_TITLE} characters"
        _require("device_tree", board.device_tree, is_model, expected)
    _require_positive("budgets", asdict(board.budgets), MAX_AMOUNT)
    _validate_system(board)
    peak = board.budgets.max_peak_mb
    rss = board.budgets.max_rss_mb
    _require("budgets.max_rss_mb", rss, rss <= peak, f"budgets.max_peak_mb ({peak:g}) or less")
    if board.memory is not None:
        _require_positive("memory", asdict(board.memory), MAX_AMOUNT)
        ram, usable = board.memory.ram_mb, board.memory.usable_mb
        _require("memory.usable_mb", usable, usable <= ram, f"memory.ram_mb ({ram}) or less")
        _require("budgets.max_peak_mb", peak, peak <= ram, f"memory.ram_mb ({ram}) or less")
    if board.storage is not None:
        _require_positive("storage", asdict(board.storage), MAX_AMOUNT)
    if board.emulation is not None and board.emulation.memory_mb is not None:
        _require_positive("emulation", {"memory_mb": board.emulation.memory_mb}, MAX_AMOUNT)
    if board.cost_model is not None:
        _validate_cost_model(board.name, board.cost_model)


def _validate_processor(processor: Processor) -> None:
    """Check the cores, the identity, the clock and the caches."""
    cores, midr = processor.cores, processor.midr
    is_count = cores is None or 0 < cores <= MAX_CORES
    _require("processor.cores", cores, is_count, f"1 or more, at most {MAX_CORES}")
    is_midr = midr is None or bool(MIDR.fullmatch(midr))
    _require("processor.midr", midr, is_midr, 'a register of 32 bits, such as "0x410fd034"')
    clocks = {"min_mhz": processor.min_mhz, "max_mhz": processor.max_mhz}
    _require_positive("processor", {name: mhz for name, mhz in clocks.items() if mhz is not None}, MAX_AMOUNT)
    if processor.min_mhz is not None and processor.max_mhz is not None:
        expected = f"processor.max_mhz ({processor.max_mhz}) or less"
        _require("processor.min_mhz", processor.min_mhz, processor.min_mhz <= processor.max_mhz, expected)
    for at, cache in enumerate(processor.caches):
        where = f"processor.caches[{at}]"
        sizes = {name: getattr(cache, name) for name in ("level", "size_kb", "ways", "shared_by")}
        _require_positive(where, sizes, MAX_AMOUNT)
        kinds = f"one of {', '.join(CACHE_KINDS)}"
        _require(f"{where}.kind", cache.kind, cache.kind in CACHE_KINDS, kinds)


def _validate_system(board: Board) -> None:
    """Check the Debian suites and the tags of wheels."""
    pythons = bool(board.debian) and all(map(PYTHON_VERSION.fullmatch, board.pythons))
    _require("debian", board.debian, pythons, 'suites with versions of Python, such as "3.11"')
    tag = "lowercase letters, digits, '_' and '.'"
    for suite in board.debian:
        _require("the name of a suite in debian", suite, bool(TAG.fullmatch(suite)), tag)
    wheels = board.wheels
    for part in ("newest_glibc", "oldest_glibc"):
        version = getattr(wheels, part)
        _require(
            f"wheels.{part}", version, bool(GLIBC_VERSION.fullmatch(version)), 'a version such as "2.36"'
        )
    newest, oldest = (
        int(version.partition(".")[2]) for version in (wheels.newest_glibc, wheels.oldest_glibc)
    )
    expected = f"wheels.newest_glibc ({wheels.newest_glibc}) or older"
    _require("wheels.oldest_glibc", wheels.oldest_glibc, oldest <= newest, expected)
    for at, legacy in enumerate(wheels.legacy):
        _require(f"wheels.legacy[{at}]", legacy, bool(TAG.fullmatch(legacy)), tag)


def _validate_cost_model(board: str, costs: CostData) -> None:
    """Check the cost model of the board with this name."""
    expected = f"{board!r}: leave out another board's cost model"
    _require("cost_model.source.board", costs.source.board, costs.source.board == board, expected)
    latency, where = costs.latency_model, "cost_model.latency_model"
    _require_positive(where, {"error_percent": latency.error_percent, "margin": latency.margin}, MAX_FACTOR)
    is_clock = MIN_CLOCK_MHZ <= latency.clock_mhz <= MAX_COEFFICIENT
    clocks = f"a number from {MIN_CLOCK_MHZ} to {MAX_COEFFICIENT:g}"
    _require(f"{where}.clock_mhz", latency.clock_mhz, is_clock, clocks)
    _require_coefficients(f"{where}.core", asdict(latency.core))
    for part in ("streamed_line", "random_line", "written_line"):
        cost = asdict(getattr(latency, part))
        _require_coefficients(f"{where}.{part}", cost)
        is_above = sum(cost.values()) >= MIN_LINE_COST
        _require(
            f"{where}.{part}", cost, is_above, f"cycles and ns that are {MIN_LINE_COST:g} or more together"
        )
    _require(f"{where}.margin", latency.margin, latency.margin >= 1, "1 or more")
    if costs.threads is not None:
        _require_positive("cost_model.threads", asdict(costs.threads), MAX_COEFFICIENT)
    lengths = costs.prompt_tokens
    is_count = 0 < len(lengths) <= MAX_PROMPTS
    _require("cost_model.prompt_tokens", lengths, is_count, f"1 to {MAX_PROMPTS} lengths")
    for at, length in enumerate(lengths):
        is_length = 0 < length <= MAX_PROMPT_TOKENS
        _require(
            f"cost_model.prompt_tokens[{at}]", length, is_length, f"a length of 1 to {MAX_PROMPT_TOKENS}"
        )
    for part in ("core_cycles", "memory_ns", "peak_bytes"):
        coefficients: Mapping[str, float] = getattr(costs, part)
        _require(f"cost_model.{part}", coefficients, bool(coefficients), "coefficients by term")
        _require_coefficients(f"cost_model.{part}", coefficients)
    errors = costs.source.errors_percent
    for shapes, figures in (("fitted", errors.fitted), ("held_out", errors.held_out)):
        for figure in ("response", "p95", "peak_rss"):
            _validate_errors(f"cost_model.source.errors_percent.{shapes}.{figure}", getattr(figures, figure))


def _validate_errors(where: str, errors: ErrorSummary) -> None:
    """Check the errors of one figure."""
    for part, least in (("mean", 0.0), ("worst", -MAX_AMOUNT), ("n", 0.0)):
        value = getattr(errors, part)
        expected = f"a number from {least:g} to {MAX_AMOUNT:g}"
        _require(f"{where}.{part}", value, least <= value <= MAX_AMOUNT, expected)


def _require_positive(where: str, values: Mapping[str, float], largest: float) -> None:
    for name, value in values.items():
        expected = f"a number above 0, at most {largest:g}"
        _require(f"{where}.{name}", value, 0 < value <= largest, expected)


def _require_coefficients(where: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        expected = f"a number from 0 to {MAX_COEFFICIENT:g}"
        _require(f"{where}.{show_key(name)}", value, 0 <= value <= MAX_COEFFICIENT, expected)


def _require(where: str, value: object, is_valid: bool, expected: str) -> None:
    if not is_valid:
        raise mismatch(where, value, expected)
