"""All jobs that this window watches: started here, resumed here, or found running."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import StudioError
from studio.core.jobs.orders import AnyOrder
from studio.core.recipe.schema import Recipe
from studio.core.runs.layout import RunLayout
from studio.core.runs.liveness import is_alive
from studio.core.runs.record import RunRecord
from studio.core.runs.store import RunStore
from studio.gui.bridge.background import Background, Cancellation
from studio.gui.bridge.launch import Launch, launch_order, launch_recipe, reattach, relaunch
from studio.gui.bridge.live_job import LiveJob


class RunFeed(QObject):
    """Keeps one ``LiveJob`` per job that is alive.

    Signals:
        run_started: The training run in this folder is watched from now on.
        run_changed: A training run has a newer ``RunRecord``.
        run_ended: A training run is over; carries its last ``RunRecord``.
        attach_finished: All runs that were alive when the window opened are watched.
        failed: A run could not be started or found; a ``StudioError``.
    """

    run_started = Signal(str)
    run_changed = Signal(object)
    run_ended = Signal(object)
    attach_finished = Signal()
    failed = Signal(object)

    def __init__(
        self, store: RunStore, background: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.store = store
        self._background = background
        self._runs: list[LiveJob] = []
        self._jobs: list[LiveJob] = []

    @property
    def alive_runs(self) -> list[LiveJob]:
        """The training runs whose process is at work, oldest first."""
        return [run for run in self._runs if not run.is_over]

    def find_run(self, folder: str | Path) -> LiveJob | None:
        """Returns the watched run in a folder, also after its end; None if it is not watched."""
        for run in reversed(self._runs):
            if run.folder and Path(run.folder) == Path(folder):
                return run
        return None

    def attach_all(self) -> None:
        """Finds the runs that are alive without this window and watches them; sweeps old jobs."""
        self._background.start(self._find_alive, self._on_alive_found, self.failed.emit)

    def start(self, recipe: Recipe, base_folder: Path) -> LiveJob:
        """Starts a new run; its relative paths start at ``base_folder``."""
        return self._watch_run(launch_recipe(self.store, recipe, base_folder))

    def resume(self, folder: str | Path) -> LiveJob:
        """Goes on with a run from its last checkpoint."""
        return self._watch_run(relaunch(Path(folder)))

    def start_job(self, order: AnyOrder, recipe: Recipe | None = None) -> LiveJob:
        """Starts a short-lived job (chat, preview, export); it ends with the window."""
        job = LiveJob(self.store, launch_order(self.store, order, recipe), self)
        self._jobs.append(job)
        job.start()
        return job

    def stop_all(self) -> None:
        """Asks every run to save and end."""
        for run in self.alive_runs:
            run.stop()

    def close(self) -> bool:
        """Ends all threads; training goes on, short-lived jobs are stopped."""
        for job in self._jobs:
            if not job.is_over:
                job.stop()
        watched = [*self._runs, *self._jobs]
        for job in watched:
            job.request_close()
        return sum(job.close() for job in watched) == len(watched)

    def _find_alive(self, cancellation: Cancellation) -> list[RunRecord]:
        self.store.clear_jobs()
        return [
            record
            for record in self.store.list()
            if not cancellation.is_set and is_alive(RunLayout(record.folder))
        ]

    def _on_alive_found(self, records: list[RunRecord]) -> None:
        for record in reversed(records):
            if self.find_run(record.folder) is None:
                self._watch_run(reattach(record.folder))
        self.attach_finished.emit()

    def _watch_run(self, launch: Launch) -> LiveJob:
        run = LiveJob(self.store, launch, self)
        self._runs.append(run)
        run.known.connect(lambda: self._on_run_known(run))
        run.changed.connect(lambda: self.run_changed.emit(run.record))
        run.ended.connect(self.run_ended)
        run.launch_failed.connect(lambda error: self._on_run_launch_failed(run, error))
        run.start()
        return run

    def _on_run_known(self, run: LiveJob) -> None:
        for other in [*self._runs]:
            if other is not run and other.is_over and other.folder == run.folder:
                self._runs.remove(other)  # an earlier attempt of the same run
        self.run_started.emit(run.folder)

    def _on_run_launch_failed(self, run: LiveJob, error: StudioError) -> None:
        self._runs.remove(run)
        self.failed.emit(error)
