"""The rule of Windows that code on Linux breaks unseen: nobody moves or deletes a file in use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def follow_windows_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the system refuse to rename, replace or delete what this process has open or mapped.

    A folder is in use when a file in it is. Only Linux tells which files these are; elsewhere
    nothing is changed.
    """
    if sys.platform != "linux":
        return
    real = {name: getattr(os, name) for name in ("rename", "replace", "unlink", "remove")}

    def move(name: str) -> Any:
        def run(source: Any, target: Any, **folders: Any) -> None:
            _refuse_in_use(source)
            _refuse_in_use(target)
            if name == "rename" and os.path.lexists(target):
                raise FileExistsError(17, "there is a file of this name", str(target))
            real[name](source, target, **folders)

        return run

    def delete(name: str) -> Any:
        def run(path: Any, *, dir_fd: int | None = None) -> None:
            _refuse_in_use(path, dir_fd)
            real[name](path, dir_fd=dir_fd)

        return run

    for name in real:
        kind = move if name in ("rename", "replace") else delete
        monkeypatch.setattr(os, name, kind(name))
    # shutil asks which functions take a folder's number; the same ones as before do
    monkeypatch.setattr(os, "supports_dir_fd", os.supports_dir_fd | {os.unlink, os.remove})


def _refuse_in_use(path: Any, dir_fd: int | None = None) -> None:
    place = Path(path)
    folder = place.parent if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink()
    place = folder.resolve() / place.name
    for one in _iter_used():
        if one == place or place in one.parents:
            raise PermissionError(13, f"another program holds {one} open", str(path))


def _iter_used() -> Iterator[Path]:
    for number in Path("/proc/self/fd").iterdir():
        try:
            place = number.readlink()
        except OSError:  # the list itself
            continue
        if place.is_file():
            yield place
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        _, slash, name = line.partition("/")
        if slash:
            yield Path(slash + name)
