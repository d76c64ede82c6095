"""One job at a time on the graphics card: a lease that a dead process cannot keep."""

from __future__ import annotations

import os
from pathlib import Path

from studio.core.errors import RunConflict
from studio.core.files import get_file_error
from studio.core.locks import held_exclusively
from studio.core.paths import Home
from studio.core.runs.liveness import ProcessMark, find_mark, read_mark, write_mark


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

    @staticmethod
    def _is_ours(holder: ProcessMark, run_id: str) -> bool:
        mark = find_mark(os.getpid())
        return mark is not None and holder.is_same_process(mark) and holder.run_id == run_id
