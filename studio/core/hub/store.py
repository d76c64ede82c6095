"""Downloaded content in the layout of the hub's own cache, so that every tool finds it.

``blobs/<hash>`` holds each content once, ``blobs/<hash>.part`` what has arrived so far,
``snapshots/<commit>/<path>`` links to blobs, ``refs/<branch>`` names a commit. A snapshot appears
only when all of its files are there.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from studio.core.errors import RunConflict
from studio.core.files import check_free_space, get_file_error, move, write_atomically
from studio.core.hub.cache import get_repository_folder
from studio.core.hub.client import HubFile
from studio.core.hub.names import Repository, is_commit
from studio.core.locks import held_exclusively

SPARE_BYTES = 256 << 20
"""What stays free on the drive beside the download."""

_PART = ".part"


class HubStore:
    """One repository in the cache."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self.folder = get_repository_folder(repository)
        self._blobs = self.folder / "blobs"

    def get_snapshot(self, commit: str) -> Path:
        """Return the folder of one version, whether it is there or not."""
        return self.folder / "snapshots" / commit

    def get_part(self, file: HubFile) -> Path:
        """Return the file that collects what arrives of a content."""
        return self._blobs / f"{file.content_hash}{_PART}"

    def get_blob(self, file: HubFile) -> Path:
        """Return the file of a complete content, whether it is there or not."""
        return self._blobs / file.content_hash

    def is_complete(self, file: HubFile, commit: str) -> bool:
        """Return whether a file of a version is there: as a blob, or as a copy in the snapshot."""
        places = (self.get_blob(file), self.get_snapshot(commit) / file.path)
        return any(_get_size(place) == file.size_bytes for place in places)

    def measure_part(self, file: HubFile) -> int:
        """Return how many bytes of a content have arrived already."""
        return max(0, _get_size(self.get_part(file)))

    def measure_missing(self, files: Sequence[HubFile], commit: str) -> int:
        """Return how many bytes are still to come."""
        missing = [file for file in files if not self.is_complete(file, commit)]
        by_hash = {file.content_hash: file for file in missing}.values()
        return sum(max(0, file.size_bytes - self.measure_part(file)) for file in by_hash)

    def check_space(self, missing_bytes: int) -> None:
        """Return quietly when the drive has room for what is still to come.

        Raises:
            DiskFull: It has not.
        """
        if missing_bytes:
            check_free_space(self.folder, missing_bytes + SPARE_BYTES)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other downloads of the same repository out.

        Raises:
            RunConflict: Another process downloads it right now.
            FileUnusable: The cache is not writable.
        """
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise get_file_error(self._blobs, error) from error
        try:
            with held_exclusively(self.folder / "lora-studio", timeout_seconds=0.0):
                yield
        except RunConflict as error:
            raise RunConflict(
                f"{self._repository.name} is being downloaded already.",
                "Wait until that is done, or stop it first.",
            ) from error

    def keep_part(self, file: HubFile) -> None:
        """Give a complete and verified part its final name."""
        part = self.get_part(file)
        try:
            move(part, self.get_blob(file))
        except OSError as error:
            raise get_file_error(part, error) from error

    def publish(self, commit: str, files: Sequence[HubFile], branch: str) -> Path:
        """Link all files into the snapshot and return its folder; the branch names it from now on.

        Raises:
            FileUnusable: The cache is not writable.
        """
        snapshot = self.get_snapshot(commit)
        try:
            uses = Counter(self.get_blob(file) for file in files)
            for file in files:
                is_shared = uses[self.get_blob(file)] > 1
                self._link(snapshot / file.path, file, is_shared=is_shared)
            if not is_commit(branch):
                reference = self.folder / "refs" / branch
                reference.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(reference, commit)
        except OSError as error:
            raise get_file_error(snapshot, error) from error
        return snapshot

    def discard_parts(self) -> int:
        """Delete what arrived of unfinished downloads and return how many bytes that were."""
        freed = 0
        for part in self._blobs.glob(f"*{_PART}"):
            with suppress(OSError):  # somebody writes to it right now
                size = part.stat().st_size
                part.unlink()
                freed += size
        return freed

    def _link(self, pointer: Path, file: HubFile, *, is_shared: bool) -> None:
        if _get_size(pointer) == file.size_bytes:
            return
        pointer.parent.mkdir(parents=True, exist_ok=True)
        blob = self.get_blob(file)
        pointer.unlink(missing_ok=True)
        try:
            pointer.symlink_to(os.path.relpath(blob, pointer.parent))
        except OSError:
            # Windows allows links to developers only; the hub's tools put the file itself there.
            if is_shared:  # several files of one content
                shutil.copyfile(blob, pointer)
            else:
                move(blob, pointer)


def _get_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not there
        return -1
