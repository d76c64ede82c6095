"""One job at a time on the graphics card: a lease that a dead process cannot keep."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.core.errors import RunConflict
from studio.core.files import get_file_error
from studio.core.locks import held_exclusively
from studio.core.paths import Home
from studio.core.runs.liveness import ProcessMark, find_mark, read_mark, remove_mark, write_mark

_PAUSE_SECONDS = 0.25


class DeviceLease:
    """The right to use the graphics card, held by one run of this home at a time.

    The lease of a dead process counts as free. Jobs on the processor need none.
    """

    def __init__(self, home: Home) -> None:
        self._path: Path = home.lease

    def find_holder(self) -> ProcessMark | None:
        """Returns who holds the lease (``run_id``, ``process_id``), or None if it is free."""
        holder = read_mark(self._path)
        return holder if holder is not None and holder.is_alive() else None

    def try_acquire(self, run_id: str) -> ProcessMark | None:
        """Takes the lease for a run of this process and returns None, or returns who holds it.

        Raises:
            FileUnusable: The home folder is not writable.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise get_file_error(self._path.parent, error) from error
        with held_exclusively(self._path):
            holder = self.find_holder()
            if holder is not None and not self._is_ours(holder, run_id):
                return holder
            mark = find_mark(os.getpid())
            if mark is None:
                raise RunConflict(
                    "The system does not tell about this process.", "Start the run again."
                )
            write_mark(self._path, mark.model_copy(update={"run_id": run_id}))
            return None

    def release(self, run_id: str) -> None:
        """Gives the lease back if this process holds it for the run."""
        with held_exclusively(self._path):
            holder = read_mark(self._path)
            if holder is not None and self._is_ours(holder, run_id):
                remove_mark(self._path)

    @contextmanager
    def acquire(
        self,
        run_id: str,
        timeout_seconds: float | None = None,
        on_wait: Callable[[ProcessMark], None] | None = None,
    ) -> Iterator[None]:
        """Holds the lease for the block; waits until it is free, for ever without a timeout.

        ``on_wait`` is called with the holder several times a second while waiting; it may raise to
        give up, for example because the user pressed Stop.

        Raises:
            RunConflict: Another run still holds the lease after ``timeout_seconds``.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while (holder := self.try_acquire(run_id)) is not None:
            if deadline is not None and time.monotonic() >= deadline:
                raise RunConflict(
                    f"The graphics card is in use by {holder.run_id} (process "
                    f"{holder.process_id}).",
                    "Wait until it is done, or stop it first.",
                )
            if on_wait is not None:
                on_wait(holder)
            time.sleep(_PAUSE_SECONDS)
        try:
            yield
        finally:
            self.release(run_id)

    @staticmethod
    def _is_ours(holder: ProcessMark, run_id: str) -> bool:
        mark = find_mark(os.getpid())
        return mark is not None and holder.is_same_process(mark) and holder.run_id == run_id
