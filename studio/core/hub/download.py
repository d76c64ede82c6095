"""Fetching one version of a repository: resumable, verified, and only then visible."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import NetworkFailed
from studio.core.files import get_file_error
from studio.core.hub.client import HubDetails, HubFile, build_file_url
from studio.core.hub.refusals import describe_refusal
from studio.core.hub.store import HubStore
from studio.core.hub.token import find_token
from studio.core.network.fetch import Cancelled, FetchCancelled, Refused, Stream, open_stream
from studio.core.network.gate import Gate

RETRIES = 5
"""How often one file goes on after a broken connection, as long as each try brings something."""

_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0)
_READ_BYTES = 1 << 20
_PASSING = ("network_cut", "network_silent")
_NOT_SATISFIABLE = 416
_SHA256_DIGITS = 64


@dataclass(frozen=True)
class Progress:
    """How far a download is; ``path`` is the file that arrives now."""

    done_bytes: int
    total_bytes: int
    path: str
    done_files: int
    total_files: int


class Downloader:
    """Fetches the chosen files of one version; what arrived survives every kind of ending."""

    def __init__(
        self,
        gate: Gate,
        details: HubDetails,
        files: tuple[HubFile, ...],
        *,
        is_cancelled: Cancelled = lambda: False,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gate = gate
        self._details = details
        self._files = files
        self._is_cancelled = is_cancelled
        self._wait = wait
        self._token = find_token()
        self._store = HubStore(details.entry.repository)
        self._total = sum(file.size_bytes for file in files)
        self._done = 0
        self._done_files = 0

    def iter_download(self, branch: str = "main") -> Iterator[Progress]:
        """Fetches everything that is missing; afterwards ``snapshot`` is the folder.

        Yields:
            Progress, at least once per file and once at the end.

        Raises:
            Offline: The gate is closed.
            FetchCancelled: The user no longer wants it; what arrived is kept.
            HubRefused: The hub wants a token or an accepted licence.
            NetworkFailed: The connection failed; what arrived is kept.
            DiskFull: There is no room; what arrived is kept.
            RunConflict: Another process downloads the same repository.
        """
        commit = self._details.commit
        with self._store.held():
            self._store.check_space(self._store.measure_missing(self._files, commit))
            for file in self._files:
                yield self._report(file)
                if not self._store.is_complete(file, commit):
                    yield from self._fetch_file(file)
                self._done += file.size_bytes
                self._done_files += 1
            self._store.publish(commit, self._files, branch)
        yield self._report(self._files[-1])

    @property
    def snapshot(self) -> Path:
        """The folder of the version; complete only after ``iter_download`` has ended."""
        return self._store.get_snapshot(self._details.commit)

    def _report(self, file: HubFile, arrived: int = 0) -> Progress:
        return Progress(
            self._done + arrived, self._total, file.path, self._done_files, len(self._files)
        )

    def _fetch_file(self, file: HubFile) -> Iterator[Progress]:
        for attempt in range(2):
            yield from self._fill_part(file)
            part = self._store.get_part(file)
            if hash_content(part, file, self._is_cancelled) == file.content_hash:
                self._store.keep_part(file)
                return
            # The bytes are not those that the hub promised; what is wrong cannot be mended.
            part.unlink(missing_ok=True)
            if attempt:
                raise NetworkFailed(
                    f"What arrived as {file.path} is not what the hub promised: its check sum is "
                    "another one. It was thrown away.",
                    "Try again. If it happens again, something between this computer and the hub "
                    "changes the files.",
                    code="hub_wrong_hash",
                )

    def _fill_part(self, file: HubFile) -> Iterator[Progress]:
        tries = 0
        while True:
            before = self._store.measure_part(file)
            try:
                yield from self._append(file)
            except NetworkFailed as error:
                has_brought = self._store.measure_part(file) > before
                tries = 0 if has_brought else tries + 1
                if error.code not in _PASSING or tries >= RETRIES:
                    raise
                self._wait(_PAUSES_SECONDS[tries])
            else:
                return

    def _append(self, file: HubFile) -> Iterator[Progress]:
        """Goes on with a part until it has the promised size."""
        part = self._store.get_part(file)
        start = self._store.measure_part(file)
        if start > file.size_bytes:
            part.unlink()
            start = 0
        if start == file.size_bytes and part.exists():
            return
        repository, commit = self._details.entry.repository, self._details.commit
        url = build_file_url(repository, commit, file.path)
        try:
            with open_stream(
                self._gate,
                url,
                f"download {repository.name}",
                start=start,
                token=self._token,
                is_cancelled=self._is_cancelled,
            ) as stream:
                yield from self._write(stream, part, file)
        except Refused as error:
            if error.status == _NOT_SATISFIABLE and start:
                part.unlink(missing_ok=True)  # it grew beyond what the server has
            has_token = self._token is not None
            raise describe_refusal(error, repository, has_token=has_token) from error

    def _write(self, stream: Stream, part: Path, file: HubFile) -> Iterator[Progress]:
        if stream.size_bytes is not None and stream.size_bytes != file.size_bytes:
            raise NetworkFailed(
                f"The hub sends {file.path} with another size than it said.", "Try again later."
            )
        try:
            with part.open("r+b" if part.exists() else "xb") as out:
                out.seek(stream.start)
                out.truncate()
                arrived = stream.start
                for piece in stream.pieces:
                    out.write(piece)
                    arrived += len(piece)
                    if arrived > file.size_bytes:
                        raise NetworkFailed(
                            f"The hub sends more of {file.path} than it said.", "Try again later."
                        )
                    yield self._report(file, arrived)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise get_file_error(part, error) from error
        if arrived < file.size_bytes:
            raise NetworkFailed("The connection broke off.", "Try again.", code="network_cut")


def hash_content(path: Path, file: HubFile, is_cancelled: Cancelled = lambda: False) -> str:
    """Returns the hash of what a file holds, of the kind by which the hub names ``file``.

    Raises:
        FetchCancelled: The user no longer wants it.
        FileUnusable: The file cannot be read.
    """
    if len(file.content_hash) == _SHA256_DIGITS:
        total = hashlib.sha256()
    else:
        # git's name for a content: small files are kept by git itself
        total = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
    try:
        with path.open("rb") as stream:
            while piece := stream.read(_READ_BYTES):
                if is_cancelled():
                    raise FetchCancelled("Cancelled.")
                total.update(piece)
    except OSError as error:
        raise get_file_error(path, error, "read") from error
    return total.hexdigest()
