"""What a run keeps on disk while it trains: checkpoints and the adapter to use."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch

from studio.core.errors import DiskFull
from studio.core.events.types import (
    AdapterSaved,
    CheckpointRemoved,
    CheckpointSaved,
    Event,
    PhaseEntered,
)
from studio.core.runs.layout import RunLayout
from studio.engine.lora.adapter import Adapter
from studio.engine.train.checkpoint import (
    AdapterOrigin,
    copy_adapter,
    find_newest_checkpoint,
    remove_old_checkpoints,
    save_checkpoint,
)
from studio.engine.train.progress import Progress
from studio.engine.train.random_state import RandomState


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
    ) -> None:
        self._layout = layout
        self._adapter = adapter
        self._optimizer = optimizer
        self._origin = origin
        self._every_seconds = every_seconds
        self._keep = keep
        self._saved_at = time.monotonic()
        self._saved: Progress | None = None

    def is_due(self) -> bool:
        """Returns whether the last save is longer ago than the recipe allows."""
        return time.monotonic() - self._saved_at >= self._every_seconds

    def is_saved(self, progress: Progress) -> bool:
        """Returns whether exactly this progress is on disk already."""
        return self._saved == progress

    def save(self, progress: Progress, random_state: RandomState) -> Iterator[Event]:
        """Saves a checkpoint and deletes the ones that are no longer kept.

        Yields:
            CheckpointSaved, CheckpointRemoved for each deleted one.

        Raises:
            FileUnusable: The disk is full or refuses; the older checkpoints are untouched.
        """
        folder = self._layout.checkpoint(progress.step)
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
        yield CheckpointSaved(
            step=progress.step,
            folder=str(folder),
            is_best=progress.best_step == progress.step,
            bytes=size_bytes,
        )
        removed = remove_old_checkpoints(self._layout.checkpoints, self._keep, progress.best_step)
        for step, path in removed:
            yield CheckpointRemoved(step=step, folder=str(path))

    def save_end(self, progress: Progress, random_state: RandomState) -> Iterator[Event]:
        """Saves the last checkpoint and the adapter to use: the best one, else the present one.

        Yields:
            PhaseEntered, CheckpointSaved, CheckpointRemoved, AdapterSaved.

        Raises:
            FileUnusable: The disk is full or refuses; the older checkpoints are untouched.
        """
        yield PhaseEntered(phase="saving")
        if not self.is_saved(progress):
            yield from self.save(progress, random_state)
        best = None if progress.best_step is None else self._layout.checkpoint(progress.best_step)
        source = best if best is not None and best.is_dir() else None
        source = source or find_newest_checkpoint(self._layout.checkpoints)
        if source is None:
            raise LookupError("a checkpoint was just saved")
        copy_adapter(source, self._layout.adapter)
        step = progress.step if source != best else progress.best_step
        yield AdapterSaved(step=step or 0, folder=str(self._layout.adapter), is_best=source == best)
