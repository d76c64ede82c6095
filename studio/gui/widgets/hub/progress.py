"""How far a download is, in words."""

from __future__ import annotations

from studio.core.units import format_bytes, format_duration
from studio.gui.bridge.hub_shelf import Download

FULL = 1000
"""Range of the progress bars."""


def find_share(download: Download) -> float | None:
    """Return which part of the download is here, 0 to 1; None while the size is not known."""
    return download.done_bytes / download.total_bytes if download.total_bytes else None


def describe_download(download: Download) -> str:
    """Return size, speed and remaining time of a download."""
    if not download.total_bytes:
        return "Asking the hub …"
    parts = [f"{format_bytes(download.done_bytes)} of {format_bytes(download.total_bytes)}"]
    if download.bytes_per_second > 0:
        parts.append(f"{format_bytes(download.bytes_per_second)}/s")
    rest = download.rest_seconds
    if rest is not None:
        parts.append(f"about {format_duration(rest)} left")
    return ", ".join(parts)
