"""What the Train page shows: the recipe before the start, a live run, or one of the history."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.runs.record import RunRecord
from studio.gui.bridge.background import Background, BackgroundCall
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.bridge.saved_run import SavedRun, load_recipe_text, load_saved_run


class TrainPresenter(QObject):
    """Follows one run at a time; a run that starts anywhere in the window is shown at once.

    Signals:
        ready_shown: The recipe before the start is to be shown.
        run_shown: A run is to be shown; carries its folder.
        record_changed: The newest ``RunRecord`` of the shown run.
        curves_changed: Its ``RunCurves`` or None.
        log_replaced: All events with a log line of the shown run.
        log_added: Events that just happened.
        recipe_changed: The frozen recipe as text.
        recipe_loaded: The frozen ``Recipe``, to be edited once more.
        stopping: The shown run was asked to stop.
        plots_loaded: The plotting library is in memory; views can build their plots.
        failed: A ``StudioError``.
    """

    ready_shown = Signal()
    run_shown = Signal(str)
    record_changed = Signal(object)
    curves_changed = Signal(object)
    log_replaced = Signal(list)
    log_added = Signal(list)
    recipe_changed = Signal(str)
    recipe_loaded = Signal(object)
    stopping = Signal()
    plots_loaded = Signal()
    failed = Signal(object)

    def __init__(
        self, feed: RunFeed, background: Background, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._feed = feed
        self._background = background
        self._job: LiveJob | None = None
        self._call: BackgroundCall | None = None
        self._was_opened = False
        self.folder = ""
        self.record: RunRecord | None = None
        self.is_ready_shown = True
        feed.run_started.connect(self.show_run)
        feed.failed.connect(self.failed)

    @property
    def is_alive(self) -> bool:
        """True while the shown run goes on; its process may need a moment longer to end."""
        job = self._job
        return job is not None and not job.is_over and not job.record.is_over

    def show_ready(self) -> None:
        """Shows the recipe before the start; the run goes on."""
        self.is_ready_shown = True
        self.ready_shown.emit()

    def show_newest(self) -> None:
        """Shows the run that is at work, unless one was just opened or another one is alive."""
        was_opened, self._was_opened = self._was_opened, False
        alive = [] if was_opened else self._feed.alive_runs
        if alive and alive[-1].folder and not self.is_alive:
            self.show_run(alive[-1].folder)

    def show_run(self, folder: str, *, was_opened: bool = False) -> None:
        """Shows the run in a folder: live if it is watched, else as it was saved.

        With ``was_opened`` the user asked for this one, whatever else is at work.
        """
        self._was_opened = was_opened
        self._leave()
        self.folder = folder
        self.is_ready_shown = False
        self.run_shown.emit(folder)
        job = self._feed.find_run(folder)
        if job is None:
            self._call = self._background.start(
                lambda _: load_saved_run(self._feed.store, Path(folder)),
                self._on_saved_run_loaded,
                self.failed.emit,
            )
            return
        self._job = job
        job.changed.connect(self._on_job_changed)
        job.events_arrived.connect(self.log_added)
        job.request_failed.connect(self.failed)
        job.ended.connect(self._on_job_changed)
        self.log_replaced.emit(job.log)
        self._on_job_changed()
        self._call = self._background.start(
            lambda _: load_recipe_text(self._feed.store, Path(folder)), self.recipe_changed.emit
        )

    def load_plots(self) -> None:
        """Loads the plotting library beside the GUI thread: the slowest part of a first look."""
        self._background.start(
            lambda _: import_module("studio.gui.plots.run_plots"),
            lambda _: self.plots_loaded.emit(),
            self.failed.emit,
        )

    def pause(self) -> None:
        """Asks the shown run to wait."""
        if self._job is not None:
            self._job.pause()

    def go_on(self) -> None:
        """Asks the shown run to go on after a pause."""
        if self._job is not None:
            self._job.go_on()

    def save_now(self) -> None:
        """Asks the shown run to save a checkpoint."""
        if self._job is not None:
            self._job.save_now()

    def stop(self) -> None:
        """Asks the shown run to save and end."""
        if self._job is not None:
            self._job.stop()

    def kill(self) -> None:
        """Ends the shown run at once."""
        if self._job is not None:
            self._job.kill()

    def resume(self) -> None:
        """Goes on with the shown run from its last checkpoint."""
        if self.folder:
            self._feed.resume(self.folder)

    def load_recipe(self) -> None:
        """Reads the frozen recipe of the shown run for the form."""
        if self.record is not None:
            record = self.record
            self._background.start(
                lambda _: self._feed.store.load_recipe(record),
                self.recipe_loaded.emit,
                self.failed.emit,
            )

    def _leave(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._job is not None:
            self._job.changed.disconnect(self._on_job_changed)
            self._job.events_arrived.disconnect(self.log_added)
            self._job.request_failed.disconnect(self.failed)
            self._job.ended.disconnect(self._on_job_changed)
            self._job = None

    def _on_job_changed(self, _record: object = None) -> None:
        if self._job is None:
            return
        self.record = self._job.record
        self.record_changed.emit(self._job.record)
        self.curves_changed.emit(self._job.curves)
        if self._job.is_stopping:
            self.stopping.emit()

    def _on_saved_run_loaded(self, run: SavedRun) -> None:
        self.record = run.record
        self.log_replaced.emit(list(run.log))
        self.record_changed.emit(run.record)
        self.curves_changed.emit(run.curves)
        self.recipe_changed.emit(run.recipe_text)
