"""Short critical sections between processes, released by the system when a process dies."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from studio.core.errors import RunConflict
from studio.core.files import get_file_error

_PAUSE_SECONDS = 0.01
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What a network drive answers that knows no locks: there the section runs unguarded."""


@contextmanager
def held_exclusively(path: Path, timeout_seconds: float = 10.0) -> Iterator[None]:
    """Keeps every other process out of the sections that guard the same ``path``.

    The lock is a small file beside ``path``, so that ``path`` itself may be replaced meanwhile.
    It is meant for moments: reading and rewriting one small file.

    Raises:
        RunConflict: Another process stayed in its section for longer than ``timeout_seconds``.
        FileUnusable: The folder is missing or not writable.
    """
    guard = path.with_name(f".{path.name}.lock")
    try:
        file = os.open(guard, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise get_file_error(guard, error) from error
    try:
        _wait(file, guard, time.monotonic() + timeout_seconds)
        try:
            yield
        finally:
            _unlock(file)
    finally:
        os.close(file)


def _wait(file: int, guard: Path, deadline: float) -> None:
    while not _try_lock(file, guard):
        if time.monotonic() > deadline:
            raise RunConflict(
                f"Another program keeps {guard} locked.",
                "Close other windows of LoRA Studio and try again.",
            )
        time.sleep(_PAUSE_SECONDS)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int, guard: Path) -> bool:
        os.lseek(file, 0, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in {errno.EACCES, errno.EDEADLOCK}:
                return False
            raise get_file_error(guard, error) from error
        return True

    def _unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(file: int, guard: Path) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return True
            raise get_file_error(guard, error) from error
        return True

    def _unlock(file: int) -> None:
        # Explicitly, because a child forked at this moment still shares the open file.
        with suppress(OSError):  # a drive without locks had nothing to release
            fcntl.flock(file, fcntl.LOCK_UN)
