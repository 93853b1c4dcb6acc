"""Figures as lines of text, with the way they went.

In: the figures of the last moments, oldest first. Out: lines of at most a width. Knows no terminal.
"""

from collections.abc import Callable, Iterable, Sequence

from tinyedge.host.throttling import HOT_C, Throttling
from tinyedge.top.client import printable
from tinyedge.top.snapshot import PERCENTILES, Snapshot

# The guide's alerts.
P95_LIMIT_MS = 250.0
RSS_LIMIT_MB = 400.0

BLOCKS = "▁▂▃▄▅▆▇█"
SPARKS = 30  # moments that a line of blocks shows
NAME_WIDTH, TEXT_WIDTH = 13, 52
MINUTE, HOUR, DAY = 60, 3600, 86400


def render(history: Sequence[Snapshot], address: str, trouble: str = "") -> list[str]:
    """The screen. history: empty before the first answer. trouble: why there is no newer one."""
    now = history[-1] if history else None
    lines = [_title(now, address), *([f"! trying again: {trouble}"] if trouble else []), ""]
    if now is None:
        return lines if trouble else [lines[0], "waiting for the first answer"]
    p95, rss, hot = now.percentiles_ms[95], now.rss_mb, now.temperature_c
    return [
        *lines,
        _row(
            "response, ms",
            "  ".join(f"p{p} {_figure(now.percentiles_ms[p])}" for p in PERCENTILES)
            + _over(p95, P95_LIMIT_MS, "p95"),
            sparks(history, lambda each: each.percentiles_ms[95]),
        ),
        _row(
            "tokens/s",
            f"{_figure(now.tokens_per_s)}  first token {_figure(now.mean_ms('ttft'))} ms,"
            f" each more {_figure(now.mean_ms('itl'))} ms",
            sparks(history, lambda each: each.tokens_per_s),
        ),
        _row(
            "memory, MB",
            f"RSS {_figure(rss)}  peak {_figure(now.peak_mb)}  swap {_figure(now.swap_mb)}"
            + _over(rss, RSS_LIMIT_MB, "RSS"),
            sparks(history, lambda each: each.rss_mb),
        ),
        _row(
            "requests",
            f"{_figure(_rate(history))}/s  {now.requests:,.0f} in all  {_figure(now.active, 0)} active"
            f"  {_figure(now.queued, 0)} waiting",
            sparks(history, lambda each: each.queued),
        ),
        _row(
            "tokens",
            "  ".join(f"{printable(kind)} {count:,.0f}" for kind, count in sorted(now.tokens.items())),
        ),
        _row("errors", _errors(now)),
        _row(
            "temperature",
            "no sensor" if hot is None else f"{hot:.0f} °C" + _over(hot, HOT_C, "it"),
            sparks(history, lambda each: each.temperature_c),
        ),
        _row("throttling", _throttling(now.throttled)),
    ]


def sparks(history: Iterable[Snapshot], figure: Callable[[Snapshot], float | None]) -> str:
    """A block a moment, from zero to the highest; a gap where there was no figure."""
    values = [figure(each) for each in history][-SPARKS:]
    known = [value for value in values if value is not None]
    if len(known) < 2 or not max(known) > 0:
        return ""
    scale = (len(BLOCKS) - 1) / max(known)
    return "".join(" " if value is None else BLOCKS[round(max(value, 0) * scale)] for value in values)


def _title(now: Snapshot | None, address: str) -> str:
    if now is None:
        return f"tinyedge top  {address}"
    info = now.info
    parts = [
        f"tinyedge {printable(info.get('version', '?'))}",
        address,
        f"bundle {printable(info.get('bundle', '?'))[:12]} {printable(info.get('precision', ''))}".rstrip(),
    ]
    if now.uptime_s is not None:
        parts.append(f"up {_duration(now.uptime_s)}")
    return "  ".join(parts)


def _row(name: str, text: str, blocks: str = "") -> str:
    return f"{name:<{NAME_WIDTH}}{text:<{TEXT_WIDTH}} {blocks}".rstrip()


def _figure(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _over(value: float | None, limit: float, what: str) -> str:
    return f"  ! {what} over {limit:g}" if value is not None and value > limit else ""


def _rate(history: Sequence[Snapshot]) -> float | None:
    return history[-1].requests_per_s(history[-2]) if len(history) > 1 else None


def _errors(now: Snapshot) -> str:
    kinds = {kind: count for kind, count in sorted(now.errors.items()) if count}
    if not kinds:
        return "none"
    return f"{sum(kinds.values()):,.0f}: " + ", ".join(f"{printable(k)} {n:,.0f}" for k, n in kinds.items())


def _throttling(bits: int | None) -> str:
    if bits is None:
        return "not known"
    throttling = Throttling.from_bits(bits)
    if throttling.now:
        return f"! now: {', '.join(throttling.now)}"
    return f"since boot: {', '.join(throttling.since_boot)}" if throttling.since_boot else "none since boot"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole >= DAY:
        return f"{whole // DAY} d {whole % DAY // HOUR} h"
    if whole >= HOUR:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // MINUTE} min {whole % MINUTE} s" if whole >= MINUTE else f"{whole} s"
