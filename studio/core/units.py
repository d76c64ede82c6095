"""Numbers as people read them: bytes, counts, durations, rates and losses."""

from __future__ import annotations

import math

UNKNOWN = "—"
"""What stands in place of a number that is not known."""

_BYTE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_COUNT_UNITS = ("", "K", "M", "B", "T")


def format_bytes(size_bytes: float | None) -> str:
    """Returns a size such as ``512 B``, ``1.5 KB`` or ``7.8 GB`` (1 KB = 1024 B)."""
    if size_bytes is None or not math.isfinite(size_bytes):
        return UNKNOWN
    if abs(size_bytes) < 1024:
        return f"{size_bytes:.0f} B"
    value, unit = _scale(size_bytes, 1024, _BYTE_UNITS)
    return f"{_shorten(value)} {unit}"


def format_count(count: float | None) -> str:
    """Returns a count such as ``9,999``, ``12.3K`` or ``8.03B`` (thousand, million, billion)."""
    if count is None or not math.isfinite(count):
        return UNKNOWN
    if abs(count) < 10_000:
        return f"{count:,.0f}"
    value, unit = _scale(count, 1000, _COUNT_UNITS)
    places = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{places}f}{unit}"


def format_things(count: int, thing: str) -> str:
    """Returns a count with its noun, such as ``1 row`` or ``2,000 rows``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def format_duration(seconds: float | None) -> str:
    """Returns a length of time such as ``40 ms``, ``4.2 s``, ``1 min 5 s`` or ``2 d 3 h``."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, length, part, part_length in (
        ("d", 86_400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= length:
            rest = whole % length // part_length
            return (
                f"{whole // length} {unit} {rest} {part}" if rest else f"{whole // length} {unit}"
            )
    return f"{whole} s"


def format_rate(per_second: float | None, thing: str) -> str:
    """Returns a speed such as ``1,234 tokens/s``, or ``4.0 s per token`` below one in a second."""
    if per_second is None or not math.isfinite(per_second) or per_second < 0:
        return UNKNOWN
    if per_second < 1e-6:  # less than once in eleven days
        return f"0 {thing}/s"
    if per_second < 0.95:
        return f"{format_duration(1 / per_second)} per {thing.removesuffix('s')}"
    shown = f"{per_second:.1f}" if per_second < 9.95 else format_count(per_second)
    return f"{shown} {thing}/s"


def format_loss(loss: float | None) -> str:
    """Returns a loss with four significant digits; losses that are no number are named."""
    if loss is None:
        return UNKNOWN
    if math.isnan(loss):
        return "not a number"
    if math.isinf(loss):
        return "infinite"
    if abs(loss) >= 1000 or 0 < abs(loss) < 0.001:
        return f"{loss:.2e}"
    return f"{loss:#.4g}".rstrip(".")


def format_fraction(fraction: float | None) -> str:
    """Returns a share of 1 as a percentage, such as ``1.23 %`` or ``95 %``."""
    if fraction is None or not math.isfinite(fraction):
        return UNKNOWN
    percent = fraction * 100
    if 0 < abs(percent) < 0.01:
        return f"{percent:.1g} %"
    places = 2 if abs(percent) < 9.995 else 1
    return f"{percent:.{places}f}".rstrip("0").rstrip(".") + " %"


def format_percent(fraction: float) -> str:
    """Returns a share of 1 as a whole percentage, such as ``60 %``."""
    return f"{fraction * 100:.0f} %"


def _scale(value: float, factor: int, units: tuple[str, ...]) -> tuple[float, str]:
    """Returns the value in the largest unit in which it rounds to less than ``factor``."""
    index = 0
    while abs(value) >= factor - 0.5 and index < len(units) - 1:
        value /= factor
        index += 1
    return value, units[index]


def _shorten(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"
