"""Writing that survives: temporary name, flush, fsync, rename; failures come as words."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from studio.core.errors import DiskFull, FileUnusable

_TEMPORARY = re.compile(r"^\.(?P<name>.+)\.[0-9a-f]{12}\.(?P<kind>tmp|old|tmp\.owner)$")
# Windows refuses while another program has a file open; elsewhere a refusal is one for good.
_PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6) if os.name == "nt" else ()
_READING_PAUSES_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16) if os.name == "nt" else ()
_LONGEST_PATH = 240 if os.name == "nt" else 4095
"""259 characters on Windows, among them those that a temporary name adds."""
_IN_USE = {32, 33, 1224}
"""What Windows answers where another program has a file open, a part of it locked, or it mapped."""
ResultT = TypeVar("ResultT")
_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def get_file_error(path: Path, error: OSError, wish: str = "written") -> FileUnusable:
    """Returns the error to raise (``from error``) when the system refused ``path``.

    ``wish`` completes the sentence "The file cannot be …", for example ``read`` or ``written``.
    """
    if error.errno in _NO_SPACE:
        return DiskFull(
            f"There is no space left on the disk to write {path}.",
            "Free some space or choose a folder on another drive. Nothing that was there before "
            "has been changed.",
        )
    if getattr(error, "winerror", None) in _IN_USE:
        reason = "another program holds it open"
        remedy = "Close the program that uses it, or wait until it is done, and try again."
    elif isinstance(error, FileNotFoundError) and len(str(path)) > _LONGEST_PATH:
        reason = "its path is longer than Windows allows"  # which says that it does not exist
        remedy = "Choose a folder with a shorter path, or a shorter name."
    elif isinstance(error, FileNotFoundError):
        reason, remedy = "it does not exist", "Check the path, or choose another file or folder."
    elif isinstance(error, PermissionError):
        reason = "you have no permission for it, or another program holds it open"
        remedy = "Choose a folder of your own, or change the permissions and try again."
    elif error.errno == errno.EROFS:
        reason, remedy = "the drive is read-only", "Choose a folder on another drive."
    elif isinstance(error, NotADirectoryError | FileExistsError):
        reason = "a file stands where a folder is needed"
        remedy = "Choose another folder, or move that file away."
    elif isinstance(error, IsADirectoryError):
        reason, remedy = "a folder stands where a file is needed", "Choose another file name."
    else:
        reason = (error.strerror or str(error)).lower()
        remedy = "Check the drive, or choose another folder."
    return FileUnusable(f"{path} cannot be {wish}: {reason}.", remedy)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that takes the place of ``path`` only when the block ends well.

    After a failure in the block the old file is untouched and no other file remains.

    Raises:
        DiskFull: No space is left; the old file is untouched.
        FileUnusable: The folder is missing or not writable.
    """
    temporary = get_temporary_path(path)
    try:
        with _removed_on_failure(temporary):
            with temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            move(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise get_file_error(_get_culprit(error, temporary, path), error) from error


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replaces the file at ``path`` by ``content`` (text as UTF-8), entirely or not at all.

    Raises:
        DiskFull: No space is left; the old file is untouched.
        FileUnusable: The folder is missing or not writable.
    """
    with open_atomically(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def write_json_atomically(path: Path, content: object) -> None:
    """Replaces the file at ``path`` by ``content`` as indented JSON, entirely or not at all.

    Raises:
        DiskFull: No space is left; the old file is untouched.
        FileUnusable: The folder is missing or not writable.
    """
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def replace_folder(target: Path) -> Iterator[Path]:
    """Yields a new empty folder that takes the place of ``target`` when the block ends well.

    Everything in it is flushed to the disk before the rename. An older ``target`` is set aside
    first and deleted afterwards; ``sweep_leftovers`` puts it back if the machine stops between.
    After a failure in the block the old folder is untouched and no other folder remains.

    Raises:
        DiskFull: No space is left; the old folder is untouched.
        FileUnusable: The parent folder is not writable.
    """
    temporary = get_temporary_path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _removed_on_failure(temporary):
            temporary.mkdir()
            yield temporary
            for folder, _, names in os.walk(temporary, topdown=False):
                for name in names:
                    _sync(Path(folder, name))
                _sync(Path(folder))
            _exchange(temporary, target)
        _sync(target.parent)
    except OSError as error:
        raise get_file_error(_get_culprit(error, temporary, target), error) from error


def sweep_leftovers(folder: Path) -> list[Path]:
    """Deletes what interrupted writes left in ``folder``; returns the paths that were cleared.

    A folder that was set aside when the machine stopped gets its name back. Call it only where
    nobody else is writing, for example with the lease of the run held.

    Raises:
        FileUnusable: ``folder`` cannot be read or changed.
    """
    cleared = []
    try:
        for path in sorted(folder.iterdir()):
            match = _TEMPORARY.match(path.name)
            if match is None:
                continue
            original = path.with_name(match["name"])
            if match["kind"] == "old" and not original.exists():
                move(path, original)
            else:
                remove(path)
            cleared.append(path)
    except OSError as error:
        raise get_file_error(folder, error, "cleaned up") from error
    return cleared


def check_free_space(folder: Path, needed_bytes: int) -> None:
    """Returns quietly when the drive of ``folder`` (which need not exist yet) has enough space.

    Raises:
        DiskFull: Less than ``needed_bytes`` is free.
    """
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free_bytes = shutil.disk_usage(place).free
    except OSError as error:
        raise get_file_error(place, error, "examined") from error
    if free_bytes < needed_bytes:
        raise DiskFull(
            f"{needed_bytes / 1e9:.2f} GB are needed in {folder}, "
            f"but only {free_bytes / 1e9:.2f} GB are free there.",
            "Free some space or choose a folder on another drive.",
        )


def get_temporary_path(path: Path) -> Path:
    """Returns an unused name beside ``path`` that ``sweep_leftovers`` recognises."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def move(source: Path, target: Path) -> Path:
    """Gives a file or folder another name, replacing a file; returns ``target``.

    Windows refuses while a virus scanner, the search index or another program has a file open,
    mostly for a moment: there it is tried again for a few seconds.

    Raises:
        OSError: The system refuses.
    """
    return _insist(lambda: source.replace(target), _PAUSES_SECONDS)


def remove(path: Path) -> None:
    """Deletes a file, or a folder with all that is in it; what is gone already is no mistake.

    Where Windows refuses for a moment it is tried again, as by ``move``.

    Raises:
        OSError: The system refuses.
    """
    _insist(lambda: _remove(path), _PAUSES_SECONDS)


def read_shared(path: Path) -> bytes:
    """Returns what is in a small file that another process may replace at this very moment.

    Windows refuses to open a file just then; who took that for a missing file would think that
    nobody owns a run, or begin with default settings and save those.

    Raises:
        OSError: The file is missing, or the system refuses.
    """
    return _insist(path.read_bytes, _READING_PAUSES_SECONDS)


@contextmanager
def _removed_on_failure(temporary: Path) -> Iterator[None]:
    is_finished = False
    try:
        yield
        is_finished = True
    finally:
        if not is_finished:
            with suppress(OSError):  # the first failure is the one to report
                remove(temporary)


def _get_culprit(error: OSError, temporary: Path, path: Path) -> Path:
    """Returns the path to name: the caller's own file where the block failed on another one."""
    name = error.filename
    if not isinstance(name, str) or temporary.name in name:
        return path
    return Path(name)


def _insist(work: Callable[[], ResultT], pauses_seconds: Iterable[float]) -> ResultT:
    """Returns what ``work`` returns, trying again after each pause while the system refuses."""
    for pause_seconds in pauses_seconds:
        try:
            return work()
        except OSError as error:
            # A folder seems not to be empty as long as somebody has a deleted file of it open.
            if not isinstance(error, PermissionError) and error.errno != errno.ENOTEMPTY:
                raise
        time.sleep(pause_seconds)
    return work()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _exchange(temporary: Path, target: Path) -> None:
    if not target.exists():
        move(temporary, target)
        return
    aside = temporary.with_suffix(".old")
    move(target, aside)
    try:
        move(temporary, target)
    except OSError:
        move(aside, target)
        raise
    with suppress(OSError):  # the new folder stands; the rest is for sweep_leftovers
        remove(aside)


def _sync(path: Path) -> None:
    if os.name == "nt":
        if path.is_dir():  # Windows cannot open folders
            return
        mode = os.O_RDWR
    else:
        mode = os.O_RDONLY
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
