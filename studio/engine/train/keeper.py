"""What a run keeps on disk while it trains: checkpoints and the adapter to use."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from studio.core.errors import DiskFull, FileUnusable
from studio.core.events.types import (
    AdapterSaved,
    CheckpointRemoved,
    CheckpointSaved,
    CheckpointSkipped,
    DiskNearlyFull,
    Event,
    NoticeRaised,
    PhaseEntered,
)
from studio.core.runs.layout import RunLayout
from studio.engine.lora.adapter import Adapter
from studio.engine.train.checkpoint import (
    AdapterOrigin,
    copy_adapter,
    find_newest_checkpoint,
    find_old_checkpoints,
    has_later_checkpoints,
    remove_checkpoint,
    remove_later_checkpoints,
    restore_checkpoint,
    save_checkpoint,
)
from studio.engine.train.progress import Progress
from studio.engine.train.random_state import RandomState
from studio.engine.train.row_losses import RowLossLog

_LEAST_FREE_BYTES = 256 << 20


class Keeper:
    """Saves the state of one run: when time is due, when asked, and at its end."""

    def __init__(
        self,
        layout: RunLayout,
        adapter: Adapter,
        optimizer: torch.optim.Optimizer,
        origin: AdapterOrigin,
        *,
        every_seconds: float,
        keep: int,
        row_losses: RowLossLog | None = None,
    ) -> None:
        self._row_losses = row_losses
        self._layout = layout
        self._adapter = adapter
        self._optimizer = optimizer
        self._origin = origin
        self._every_seconds = every_seconds
        self._keep = keep
        self._saved_at = time.monotonic()
        self._saved: Progress | None = None
        self._refused: set[Path] = set()
        # Until one was saved: an adapter in 32 bits and what AdamW keeps of it.
        self._size_bytes = sum(12 * one.numel() for one in adapter.parameters())
        self._is_nearly_full = False

    def is_due(self) -> bool:
        """Returns whether the last save is longer ago than the recipe allows."""
        return time.monotonic() - self._saved_at >= self._every_seconds

    def is_saved(self, progress: Progress) -> bool:
        """Returns whether exactly this progress is on disk already."""
        return self._saved == progress

    def save(self, progress: Progress, random_state: RandomState) -> Iterator[Event]:
        """Saves a checkpoint and deletes the ones that are no longer kept.

        A disk that is full does not end the run: older checkpoints give way, and where even that
        is not enough the run goes on and tries again later.

        Yields:
            CheckpointSaved, CheckpointRemoved for each deleted one, NoticeRaised for one that
            another program holds; DiskNearlyFull, CheckpointSkipped.

        Raises:
            FileUnusable: The folder cannot be written to; the older checkpoints are untouched.
        """
        yield from self._make_room(progress)
        try:
            yield from self._write(progress, random_state)
        except DiskFull:
            self._saved_at = time.monotonic()
            yield CheckpointSkipped(
                step=progress.step,
                folder=str(self._layout.checkpoints),
                free_bytes=get_free_space(self._layout.folder),
            )
            return
        yield from self._remove_old(progress, 1 if self._is_nearly_full else self._keep)

    def save_end(self, progress: Progress, random_state: RandomState) -> Iterator[Event]:
        """Saves the last checkpoint and the adapter to use: the best one, else the present one.

        Yields:
            PhaseEntered, CheckpointSaved, CheckpointRemoved, AdapterSaved, DiskNearlyFull.

        Raises:
            FileUnusable: The disk is full or refuses; the older checkpoints are untouched.
        """
        yield PhaseEntered(phase="saving")
        if not self.is_saved(progress):
            yield from self._make_room(progress)
            yield from self._write(progress, random_state)
            yield from self._remove_old(progress, 1 if self._is_nearly_full else self._keep)
        best = None if progress.best_step is None else self._layout.checkpoint(progress.best_step)
        source = best if best is not None and best.is_dir() else None
        source = source or find_newest_checkpoint(self._layout.checkpoints)
        if source is None:
            raise LookupError("a checkpoint was just saved")
        copy_adapter(source, self._layout.adapter)
        step = progress.step if source != best else progress.best_step
        yield AdapterSaved(step=step or 0, folder=str(self._layout.adapter), is_best=source == best)

    def restore_newest(self) -> Progress | None:
        """Puts the newest checkpoint back; returns its progress, None if nothing is saved yet."""
        newest = find_newest_checkpoint(self._layout.checkpoints)
        if newest is None:
            return None
        return restore_checkpoint(newest, self._adapter, self._optimizer)

    def go_back(self, progress: Progress, random_state: RandomState) -> Iterator[Event]:
        """Deletes the checkpoints of later steps than ``progress``, which turned out bad.

        The present state is saved before, so that a resumed run begins with it.

        Yields:
            CheckpointSaved, CheckpointRemoved for each deleted one; what ``save`` yields.

        Raises:
            FileUnusable: The folder cannot be written to.
        """
        folder = self._layout.checkpoints
        if not has_later_checkpoints(folder, progress.step):
            return
        if progress.step > 0:
            yield from self._write(progress, random_state)
        for step, path in remove_later_checkpoints(folder, progress.step):
            yield CheckpointRemoved(step=step, folder=str(path))

    def _write(self, progress: Progress, random_state: RandomState) -> Iterator[Event]:
        folder = self._layout.checkpoint(progress.step)
        if self._row_losses is not None:
            yield from self._row_losses.sync()
        try:
            size_bytes = save_checkpoint(
                folder, self._adapter, self._origin, self._optimizer, progress, random_state
            )
        except DiskFull as error:
            raise DiskFull(
                f"There is no space left on the disk to save step {progress.step} in "
                f"{self._layout.checkpoints}.",
                "Free some space, then resume the run: what was saved before is untouched.",
            ) from error
        self._saved_at = time.monotonic()
        self._saved = progress
        self._size_bytes = size_bytes
        yield CheckpointSaved(
            step=progress.step,
            folder=str(folder),
            is_best=progress.best_step == progress.step,
            bytes=size_bytes,
        )

    def _make_room(self, progress: Progress) -> Iterator[Event]:
        """Thins the checkpoints out where the disk has hardly room for another one."""
        free = get_free_space(self._layout.folder)
        was_nearly_full = self._is_nearly_full
        self._is_nearly_full = free < 2 * self._size_bytes + _LEAST_FREE_BYTES
        if self._is_nearly_full and not was_nearly_full:
            yield DiskNearlyFull(
                step=progress.step,
                folder=str(self._layout.checkpoints),
                free_bytes=free,
                needed_bytes=self._size_bytes,
            )
        if self._is_nearly_full:
            yield from self._remove_old(progress, 1)

    def _remove_old(self, progress: Progress, keep: int) -> Iterator[Event]:
        for path in find_old_checkpoints(self._layout.checkpoints, keep, progress.best_step):
            try:
                step = remove_checkpoint(path)
            except FileUnusable as error:  # no reason to end a run
                if path not in self._refused:
                    self._refused.add(path)
                    yield NoticeRaised(
                        code="checkpoint_not_deleted",
                        message=f"An old checkpoint is still there: {error.message}",
                        remedy="Nothing to do: it is tried again with the next checkpoint.",
                    )
            else:
                yield CheckpointRemoved(step=step, folder=str(path))


def get_free_space(folder: Path) -> int:
    """Returns the bytes that can still be written to the disk of ``folder``."""
    return shutil.disk_usage(folder).free
