"""Folders that are written under a mark of their process, so that a later one can clear them."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.core.files import get_file_error, move, remove, replace_folder
from studio.core.runs.liveness import find_mark, read_mark

_MARK = ".owner"


@contextmanager
def replace_marked_folder(target: Path) -> Iterator[Path]:
    """Yields a new empty folder as ``replace_folder`` does, with a mark of this process beside it.

    If the process is killed, ``clear_abandoned`` knows by the mark that nobody needs the folder.

    Raises:
        DiskFull: No space is left; the old folder is untouched.
        FileUnusable: The parent folder is not writable.
    """
    mark: Path | None = None
    try:
        with replace_folder(target) as folder:
            mark = folder.with_name(folder.name + _MARK)
            owner = find_mark(os.getpid())
            mark.write_text(owner.model_dump_json() if owner else "", encoding="utf-8")
            yield folder
    finally:
        if mark is not None:
            remove(mark)


def clear_abandoned(target: Path) -> list[Path]:
    """Deletes what killed processes left of ``target`` beside it; returns the cleared folders.

    Only folders with a readable mark count whose process is gone from this very machine; what has
    no mark, or another name, stays. A folder that had been set aside gets its name back.

    Raises:
        FileUnusable: A leftover cannot be removed.
    """
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{12}}\.tmp{re.escape(_MARK)}")
    if not target.parent.is_dir():
        return []
    cleared = []
    try:
        for mark in sorted(target.parent.iterdir()):
            if pattern.fullmatch(mark.name) and _is_abandoned(mark):
                folder = mark.with_name(mark.name.removesuffix(_MARK))
                _remove_folder(folder)
                _settle_aside(folder.with_suffix(".old"), target)
                remove(mark)
                cleared.append(folder)
    except OSError as error:
        raise get_file_error(target.parent, error, "cleaned up") from error
    return cleared


def _is_abandoned(mark: Path) -> bool:
    if mark.is_symlink():
        return False
    owner = read_mark(mark)
    # The processes of another machine that shares the drive cannot be seen from here.
    return owner is not None and owner.host == platform.node() and not owner.is_alive()


def _settle_aside(aside: Path, target: Path) -> None:
    """Gives the folder that was to be replaced its name back, unless the new one took it."""
    if target.exists():
        _remove_folder(aside)
    elif aside.is_dir():
        move(aside, target)


def _remove_folder(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        remove(folder)
