"""Figures as lines of text, with the way they went.

In: the figures of the last moments, oldest first. Out: lines of at most a width. Knows no terminal.
"""

from collections.abc import Callable, Iterable, Sequence

from tinyedge.boards.board import default_board
from tinyedge.host.throttling import HOT_C, Throttling
from tinyedge.top.client import replace_unprintable
from tinyedge.top.snapshot import PERCENTILES, Snapshot

SPARKLINE_BLOCKS = "▁▂▃▄▅▆▇█"
SPARKLINE_WIDTH = 30  # moments that a line of blocks shows
NAME_WIDTH, TEXT_WIDTH = 13, 52
MINUTE, HOUR, DAY = 60, 3600, 86400


def render(history: Sequence[Snapshot], address: str, problem: str = "") -> list[str]:
    """The screen. history: empty before the first answer. problem: why there is no newer one."""
    now = history[-1] if history else None
    lines = [_format_title(now, address), *([f"! trying again: {problem}"] if problem else []), ""]
    if now is None:
        return lines if problem else [lines[0], "waiting for the first answer"]
    budgets = default_board().budgets
    p95, rss, hot = now.percentiles_ms[95], now.rss_mb, now.temperature_c
    return [
        *lines,
        _format_row(
            "response, ms",
            "  ".join(f"p{p} {_format_number(now.percentiles_ms[p])}" for p in PERCENTILES)
            + _format_excess(p95, budgets.max_p95_ms, "p95"),
            sparkline(history, lambda each: each.percentiles_ms[95]),
        ),
        _format_row(
            "tokens/s",
            f"{_format_number(now.tokens_per_s)}  first token {_format_number(now.mean_ms('ttft'))} ms,"
            f" each more {_format_number(now.mean_ms('itl'))} ms",
            sparkline(history, lambda each: each.tokens_per_s),
        ),
        _format_row(
            "memory, MB",
            f"RSS {_format_number(rss)}  peak {_format_number(now.peak_mb)}  swap {_format_number(now.swap_mb)}"
            + _format_excess(rss, budgets.max_rss_mb, "RSS"),
            sparkline(history, lambda each: each.rss_mb),
        ),
        _format_row(
            "requests",
            f"{_format_number(_compute_request_rate(history))}/s  {now.requests:,.0f} in all  {_format_number(now.active, 0)} active"
            f"  {_format_number(now.queued, 0)} waiting",
            sparkline(history, lambda each: each.queued),
        ),
        _format_row(
            "tokens",
            "  ".join(
                f"{replace_unprintable(kind)} {count:,.0f}" for kind, count in sorted(now.tokens.items())
            ),
        ),
        _format_row("errors", _format_errors(now)),
        _format_row(
            "temperature",
            "no sensor" if hot is None else f"{hot:.0f} °C" + _format_excess(hot, HOT_C, "it"),
            sparkline(history, lambda each: each.temperature_c),
        ),
        _format_row("throttling", _format_throttling(now.throttled)),
    ]


def sparkline(history: Iterable[Snapshot], figure: Callable[[Snapshot], float | None]) -> str:
    """A block a moment, from zero to the highest; a gap where there was no figure."""
    values = [figure(each) for each in history][-SPARKLINE_WIDTH:]
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
    info = now.info
    parts = [
        f"tinyedge {replace_unprintable(info.get('version', '?'))}",
        address,
        f"bundle {replace_unprintable(info.get('bundle', '?'))[:12]} {replace_unprintable(info.get('precision', ''))}".rstrip(),
    ]
    if now.uptime_s is not None:
        parts.append(f"up {_format_duration(now.uptime_s)}")
    return "  ".join(parts)


def _format_row(name: str, text: str, blocks: str = "") -> str:
    return f"{name:<{NAME_WIDTH}}{text:<{TEXT_WIDTH}} {blocks}".rstrip()


def _format_number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _format_excess(value: float | None, limit: float, what: str) -> str:
    return f"  ! {what} over {limit:g}" if value is not None and value > limit else ""


def _compute_request_rate(history: Sequence[Snapshot]) -> float | None:
    return history[-1].requests_per_s(history[-2]) if len(history) > 1 else None


def _format_errors(now: Snapshot) -> str:
    kinds = {kind: count for kind, count in sorted(now.errors.items()) if count}
    if not kinds:
        return "none"
    return f"{sum(kinds.values()):,.0f}: " + ", ".join(
        f"{replace_unprintable(k)} {n:,.0f}" for k, n in kinds.items()
    )


def _format_throttling(bits: int | None) -> str:
    if bits is None:
        return "not known"
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
