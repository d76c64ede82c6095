"""What would stop the set-up on this machine, found before gigabytes are downloaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

LONGEST_PATH = 259
"""Characters in a path that Windows takes unless long paths are switched on."""
LONGEST_INSIDE = 190
"""Characters below ``.venv`` of the longest file that is installed, a licence in torch."""


def find_obstacle(venv: str, *, is_windows: bool, has_long_paths: bool, is_64_bit: bool) -> str:
    """Return why the set-up would fail and what to do; empty if nothing is known against it."""
    if not is_64_bit:
        return (
            "This is a 32-bit Python, for which there is no PyTorch. Install the 64-bit Python "
            "from python.org and start again with it."
        )
    excess = len(venv) + LONGEST_INSIDE - LONGEST_PATH
    if is_windows and not has_long_paths and excess > 0:
        return (
            f"The path of this folder is {excess} characters too long for Windows, which takes "
            f"{LONGEST_PATH} for a file:\n    {venv}\n"
            "Move the folder to a place with a short path, for example C:\\lora-studio, and start "
            "again there."
        )
    return ""


def iter_hints(folder: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Yield what speaks against ``folder`` without stopping anybody."""
    for name in ("OneDrive", "OneDriveConsumer", "OneDriveCommercial"):
        synced = environment.get(name, "").rstrip("\\/")
        if synced and folder.lower().startswith((f"{synced}\\".lower(), f"{synced}/".lower())):
            yield (
                f"This folder lies in {synced}: OneDrive will copy gigabytes of libraries. Better "
                "stop here (Ctrl+C), move it elsewhere and start again there."
            )
            return  # two of the names often mean the same folder


def look_for_obstacle(venv: str) -> str:
    """Return what would stop the set-up on this machine; empty if nothing is known against it."""
    return find_obstacle(
        venv,
        is_windows=os.name == "nt",
        has_long_paths=has_long_paths(),
        is_64_bit=sys.maxsize > 2**32,
    )


def has_long_paths() -> bool:
    """Return whether somebody has switched long paths on; True where there is no such switch."""
    if sys.platform != "win32":
        return True
    import winreg

    place = r"SYSTEM\CurrentControlSet\Control\FileSystem"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False
