"""Keeps Windows from putting the computer to sleep while nobody touches it and something runs."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Switch: TypeAlias = Callable[[int], int]
"""Takes what the calling thread needs from now on; returns what it needed before, 0: refused."""

CONTINUOUS, SYSTEM_REQUIRED = 0x80000000, 0x1


@contextmanager
def kept_awake(switch: Switch | None) -> Iterator[bool]:
    """Keeps the computer awake for the block; yields whether that is so.

    The screen may go dark all the same. Other systems leave a busy computer awake: no switch there.

    Source: Windows API, SetThreadExecutionState.
    """
    is_kept = switch is not None and switch(CONTINUOUS | SYSTEM_REQUIRED) != 0
    try:
        yield is_kept
    finally:
        if switch is not None and is_kept:
            switch(CONTINUOUS)


def find_switch() -> Switch | None:
    """Returns the switch of Windows, None elsewhere."""
    if sys.platform == "win32":
        switch = ctypes.WinDLL("kernel32").SetThreadExecutionState
        switch.argtypes, switch.restype = [ctypes.c_uint32], ctypes.c_uint32
        return switch
    return None
