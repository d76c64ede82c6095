"""The facts of a download."""

from __future__ import annotations

from studio.core.events.base import Event


class DownloadProgressed(Event):
    """Part of a repository is here; ``path`` is the file that arrives now."""

    done_bytes: int
    total_bytes: int
    path: str
    done_files: int
    total_files: int


class DownloadFinished(Event):
    """All chosen files of one version of a repository are on this machine, verified."""

    name: str
    folder: str
    revision: str
    files: int
    total_bytes: int
