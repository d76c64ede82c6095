"""What a data file seems to be, before it is measured on: the survey looks at its first rows."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.events.types import SourceExamined
from studio.core.jobs.orders import SurveyOrder
from studio.gui.bridge.adapter_selection import AdapterSelection
from studio.gui.bridge.data_survey import DataSurvey
from studio.gui.bridge.run_feed import RunFeed


class FileLook(QObject):
    """Looks at one file at a time as the chosen base reads it; waits until there is a base.

    Signals:
        began: A file is being looked at; what was found before no longer holds.
        found: The ``SourceExamined`` of the newest file.
    """

    began = Signal()
    found = Signal(object)

    def __init__(
        self, feed: RunFeed, selection: AdapterSelection, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._selection = selection
        self._survey = DataSurvey(feed, self)
        self._path = ""
        self._looked: tuple[str, str] = ("", "")
        self._survey.found.connect(self._on_survey_found)
        self._survey.failed.connect(lambda _: self._survey.stop())  # measuring will say why
        selection.changed.connect(self._look)

    def look_at(self, path: str) -> None:
        """Looks at a file."""
        self._path = path
        self._look()

    def stop(self) -> None:
        """Ends a look that is going on."""
        self._survey.stop()

    def _look(self) -> None:
        wanted = (self._path, self._selection.base)
        if not all(wanted) or wanted == self._looked:
            return
        self._looked = wanted
        self.began.emit()
        order = SurveyOrder(base=self._selection.base, base_folder=str(Path.cwd()))
        self._survey.look_at(order, {"train": [{"source": self._path}]})

    def _on_survey_found(self, event: object) -> None:
        if isinstance(event, SourceExamined):
            self._survey.stop()  # the rows themselves are not needed
            self.found.emit(event)
