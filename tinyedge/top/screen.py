"""Text of the screen of `tinyedge top`: figures, those above a limit, and how they changed.

In: the last snapshots, oldest first. Out: lines of text. Does not know the terminal.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from tinyedge.boards.load import default_board
from tinyedge.core.printable import printable
from tinyedge.host.throttling import HOT_C, Throttling
from tinyedge.top.snapshot import PERCENTILES, Snapshot

SPARKLINE_BLOCKS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 30  # snapshots
NAME_WIDTH, TEXT_WIDTH = 13, 52  # columns
MINUTE, HOUR, DAY = 60, 3600, 86400  # seconds


def render(history: Sequence[Snapshot], address: str, problem: str = "") -> list[str]:
    """Format the screen.

    Args:
        history: The last snapshots, oldest first; empty before the server's first response.
        address: Address of the server.
        problem: Why the last request failed; empty if it did not.

    Returns:
        Lines without line breaks.
    """
    now = history[-1] if history else None
    lines = [_format_title(now, address), *([f"! retrying: {problem}"] if problem else []), ""]
    if now is None:
        return lines if problem else [lines[0], "waiting for the first response"]
    budgets = default_board().budgets
    p95, rss, temperature = now.percentiles_ms[95], now.rss_mb, now.temperature_c
    return [
        *lines,
        _format_row(
            "response, ms",
            "  ".join(f"p{p} {_format_number(now.percentiles_ms[p])}" for p in PERCENTILES)
            + _format_excess(p95, budgets.max_p95_ms, "p95 "),
            sparkline(history, lambda each: each.percentiles_ms[95]),
        ),
        _format_row("tokens/s", _format_speed(now), sparkline(history, lambda each: each.tokens_per_s)),
        _format_row(
            "memory, MB",
            f"RSS {_format_number(rss)}  peak {_format_number(now.peak_mb)}"
            f"  swap {_format_number(now.swap_mb)}" + _format_excess(rss, budgets.max_rss_mb, "RSS "),
            sparkline(history, lambda each: each.rss_mb),
        ),
        _format_row("requests", _format_requests(history), sparkline(history, lambda each: each.queued)),
        _format_row("tokens", "  ".join(_format_counts(now.tokens))),
        _format_row("errors", _format_errors(now)),
        _format_row(
            "temperature",
            "no sensor"
            if temperature is None
            else f"{temperature:.0f} °C{_format_excess(temperature, HOT_C)}",
            sparkline(history, lambda each: each.temperature_c),
        ),
        _format_row("throttling", _format_throttling(now.throttled)),
    ]


def sparkline(history: Iterable[Snapshot], read_value: Callable[[Snapshot], float | None]) -> str:
    """Draw a value of the last snapshots as one block each, scaled from zero to the largest.

    Args:
        history: Snapshots, oldest first.
        read_value: Returns the value of a snapshot; None leaves a gap.

    Returns:
        At most SPARKLINE_WIDTH characters; empty if fewer than two values are known or none is above zero.
    """
    values = [read_value(each) for each in history][-SPARKLINE_WIDTH:]
    known = [value for value in values if value is not None]
    if len(known) < 2 or not max(known) > 0:
        return ""
    scale = (len(SPARKLINE_BLOCKS) - 1) / max(known)
    return "".join(
        " " if value is None else SPARKLINE_BLOCKS[round(max(value, 0) * scale)] for value in values
    )


def _format_title(now: Snapshot | None, address: str) -> str:
    if now is None:
        return f"tinyedge top  {address}"
    version, bundle, precision = (
        printable(now.info.get(name, default))
        for name, default in (("version", "?"), ("bundle", "?"), ("precision", ""))
    )
    parts = [f"tinyedge {version}", address, f"bundle {bundle[:12]} {precision}".rstrip()]
    if now.uptime_s is not None:
        parts.append(f"up {_format_duration(now.uptime_s)}")
    return "  ".join(parts)


def _format_row(name: str, text: str, blocks: str = "") -> str:
    return f"{name:<{NAME_WIDTH}}{text:<{TEXT_WIDTH}} {blocks}".rstrip()


def _format_number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _format_excess(value: float | None, limit: float, name: str = "") -> str:
    return f"  ! {name}over {limit:g}" if value is not None and value > limit else ""


def _format_speed(now: Snapshot) -> str:
    first, later = _format_number(now.mean_ms("ttft")), _format_number(now.mean_ms("itl"))
    return f"{_format_number(now.tokens_per_s)}  first token {first} ms, then {later} ms per token"


def _format_requests(history: Sequence[Snapshot]) -> str:
    now = history[-1]
    rate = now.requests_per_s(history[-2]) if len(history) > 1 else None
    return (
        f"{_format_number(rate)}/s  {now.requests:,.0f} total  {_format_number(now.active, 0)} active"
        f"  {_format_number(now.queued, 0)} queued"
    )


def _format_counts(counts: Mapping[str, float]) -> list[str]:
    return [f"{printable(kind)} {count:,.0f}" for kind, count in sorted(counts.items())]


def _format_errors(now: Snapshot) -> str:
    counts = {kind: count for kind, count in now.errors.items() if count}
    return f"{sum(counts.values()):,.0f}: {', '.join(_format_counts(counts))}" if counts else "none"


def _format_throttling(bits: int | None) -> str:
    if bits is None:
        return "unknown"
    throttling = Throttling.from_bits(bits)
    if throttling.now:
        return f"! now: {', '.join(throttling.now)}"
    return f"since boot: {', '.join(throttling.since_boot)}" if throttling.since_boot else "none since boot"


def _format_duration(seconds: float) -> str:
    whole = int(seconds)
    if whole >= DAY:
        return f"{whole // DAY} d {whole % DAY // HOUR} h"
    if whole >= HOUR:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // MINUTE} min {whole % MINUTE} s" if whole >= MINUTE else f"{whole} s"
