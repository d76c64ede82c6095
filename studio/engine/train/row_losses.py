"""Writes down what each row of a run cost each time it was trained on."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from studio.core.errors import StudioError
from studio.core.events.types import Event, NoticeRaised
from studio.core.files import get_file_error, open_atomically
from studio.core.microscope.files import LOSSES_MAGIC, ORIGINS_MAGIC, find_end, pack_step
from studio.core.runs.layout import RowFiles
from studio.engine.data.example import Examples
from studio.engine.train.document_losses import DocumentLoss

_EVERY_SECONDS = 1.0


class RowLossLog:
    """Two files of one run; see ``studio.core.microscope.files``.

    They are worth no run that ends for them: where the disk refuses, nothing more is written down
    and the run goes on.
    """

    def __init__(self, folder: Path) -> None:
        self._files = RowFiles(folder)
        self._stream: BinaryIO | None = None
        self._waiting = bytearray()
        self._written_at = 0.0
        self._next_step = 0

    def start(self, store: Examples, data_step: int) -> Iterator[Event]:
        """Names the documents; what was written of the data's steps from ``data_step`` on goes.

        Yields:
            NoticeRaised, once, when the disk refuses.
        """
        try:
            with open_atomically(self._files.origins) as stream:
                stream.write(ORIGINS_MAGIC)
                for some in store.iter_origins():
                    stream.write(some.tobytes())
            self._stream = self._open()
            self._cut(self._stream, data_step)
        except (OSError, StudioError) as error:
            yield self._give_up(error)

    def add(self, data_step: int, losses: Sequence[DocumentLoss]) -> Iterator[Event]:
        """Adds what a step of the data cost; a step that is done again replaces what was there.

        Yields:
            NoticeRaised, once, when the disk refuses.
        """
        if self._stream is None:
            return
        try:
            if data_step < self._next_step:
                self._cut(self._stream, data_step)
            records = [(one.document, one.loss, one.shortfall) for one in losses]
            self._waiting += pack_step(data_step, records)
            self._next_step = data_step + 1
            if time.monotonic() - self._written_at >= _EVERY_SECONDS:
                self._write(self._stream)
        except OSError as error:
            yield self._give_up(error)

    def sync(self) -> Iterator[Event]:
        """Lets everything so far survive a loss of power; called before a checkpoint is saved.

        Yields:
            NoticeRaised, once, when the disk refuses.
        """
        if self._stream is None:
            return
        try:
            self._write(self._stream)
            os.fsync(self._stream.fileno())
        except OSError as error:
            yield self._give_up(error)

    def close(self) -> None:
        """Lets go of the file; what was not written yet is about steps that are not saved."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> BinaryIO:
        path = self._files.losses
        is_new = not path.exists() or path.stat().st_size < len(LOSSES_MAGIC)
        # Unbuffered: what is written is seen at once by those who look at the run.
        stream: BinaryIO = path.open("wb+" if is_new else "rb+", buffering=0)
        if is_new:
            stream.write(LOSSES_MAGIC)
        return stream

    def _cut(self, stream: BinaryIO, data_step: int) -> None:
        self._write(stream)
        stream.truncate(find_end(stream, data_step))
        stream.seek(0, os.SEEK_END)
        self._next_step = data_step

    def _write(self, stream: BinaryIO) -> None:
        stream.write(self._waiting)
        self._waiting.clear()
        self._written_at = time.monotonic()

    def _give_up(self, error: OSError | StudioError) -> NoticeRaised:
        self.close()
        if isinstance(error, OSError):
            error = get_file_error(self._files.losses, error)
        return NoticeRaised(
            severity="warning",
            code="row_losses_stopped",
            message=f"What single rows cost is no longer kept. {error.message}",
            remedy=error.remedy,
        )
