"""Between the survey, the window in which rows are corrected, and the draft."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from studio.core.errors import StudioError
from studio.core.events.survey import FileSide
from studio.core.events.types import CopyProgressed, CopySaved, Event, RowOpened, RowShown, RowTried
from studio.core.paths import Home, slug
from studio.gui.bridge.data_survey import DataSurvey
from studio.gui.context import Context
from studio.gui.forms.draft import Draft
from studio.gui.pages.data.correction.dialog import CorrectionDialog, build_question
from studio.gui.widgets.notice import Notice

_PURPOSE = "correct"
_CORRECTED = re.compile(r"-corrected(-\d+)?$")
_PATHS: dict[FileSide, str] = {"train": "data.train", "validation": "data.validation"}
AskRow = Callable[[str, int], None]
"""Asks the survey for the row at a place of the list that is looked at, for a purpose."""


class Corrector(QObject):
    """Opens rows, saves copies and lets the draft learn from them."""

    def __init__(
        self,
        context: Context,
        survey: DataSurvey,
        notice: Notice,
        ask: AskRow,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._context, self._survey, self._notice, self._ask = context, survey, notice, ask
        self._window = parent
        self._dialog: CorrectionDialog | None = None
        self._row: RowShown | None = None
        self._undo: tuple[FileSide, str, dict[str, Any]] | None = None
        survey.correction_told.connect(self._on_told)
        survey.correction_failed.connect(self._on_failed)
        survey.row_shown.connect(self._on_row_shown)
        notice.action_requested.connect(self._on_undo_requested)
        context.draft.changed.connect(self._on_draft_changed)

    def open(self, row: RowShown) -> None:
        """Opens a row to be corrected."""
        entry = self._find_entry(row.files, row.source)
        if entry is None or self._dialog is not None:
            return
        name = Path(str(entry["source"])).name
        dialog = CorrectionDialog(name, find_copy_path(self._context.home, name), self._window)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.step_requested.connect(self._on_step_requested)
        dialog.trial_requested.connect(self._on_trial_requested)
        dialog.save_requested.connect(self._on_save_requested)
        dialog.cancel_requested.connect(self._survey.cancel_copy)
        dialog.finished.connect(self._on_finished)
        self._dialog = dialog
        self._choose(row)
        dialog.open()

    def _choose(self, row: RowShown) -> None:
        self._row = row
        if self._dialog is not None:
            self._dialog.show_steps(has_back=row.rank > 0, has_forth=row.rank + 1 < row.count)
            self._survey.open_row(row.files, row.source, row.index)

    def _on_step_requested(self, step: int) -> None:
        if self._dialog is not None and self._row is not None:
            self._dialog.flush()
            self._ask(_PURPOSE, self._row.rank + step)

    def _on_row_shown(self, purpose: str, row: RowShown) -> None:
        dialog, now = self._dialog, self._row
        if purpose != _PURPOSE or dialog is None or now is None or not row.count:
            return
        if (row.files, row.source) != (now.files, now.source):
            dialog.show_error(
                StudioError(
                    f"The row at this place, {row.place}, belongs to another file.",
                    "Save this copy first; then open that row in the X-ray.",
                )
            )
            return
        self._choose(row)

    def _on_trial_requested(self, values: str) -> None:
        if self._row is not None:
            row = self._row
            self._survey.try_row(row.files, row.source, row.index, values)

    def _on_save_requested(self, changes: Mapping[int, str], path: str) -> None:
        if self._row is not None:
            self._survey.save_copy(self._row.files, self._row.source, changes, path)

    def _on_told(self, event: Event) -> None:
        dialog = self._dialog
        if dialog is None:
            return
        if isinstance(event, RowOpened):
            dialog.show_row(event)
        elif isinstance(event, RowTried):
            dialog.show_trial(event)
        elif isinstance(event, CopyProgressed):
            dialog.show_progress(event)
        elif isinstance(event, CopySaved):
            self._on_saved(dialog, event)

    def _on_failed(self, error: StudioError) -> None:
        if self._dialog is not None:
            self._dialog.show_error(error)

    def _on_saved(self, dialog: CorrectionDialog, saved: CopySaved) -> None:
        dialog.accept()
        row = self._row
        entry = None if row is None else self._find_entry(row.files, row.source)
        if row is None or entry is None:
            return
        title, more = describe_saved(saved, str(entry["source"]))
        box = build_question(self._window, title, more)
        use = box.addButton("Use the copy", QMessageBox.ButtonRole.AcceptRole)
        keep = box.addButton("Keep the original", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(use)
        box.setEscapeButton(keep)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        use.clicked.connect(lambda: self._use(row.files, row.source, entry, saved))
        box.open()

    def _use(self, files: FileSide, position: int, entry: dict[str, Any], saved: CopySaved) -> None:
        changed = build_entry(entry, saved.path)
        replace_entry(self._context.draft, files, position, changed)
        self._undo = (files, saved.path, entry)
        verb = "learnt from" if files == "train" else "measured on"
        old, new = Path(str(entry["source"])).name, Path(saved.path).name
        self._notice.show_message(
            "success", f"{new} is {verb} now.", f"{old} stays as it was.", "Back to the original"
        )

    def _on_undo_requested(self) -> None:
        undo, self._undo = self._undo, None
        self._notice.clear()
        if undo is None:
            return
        files, path, entry = undo
        sources = self._context.draft.get_value(_PATHS[files])
        for position, source in enumerate(sources if isinstance(sources, list) else []):
            if source["source"] == path:
                replace_entry(self._context.draft, files, position, entry)

    def _on_draft_changed(self) -> None:
        """Takes the notice away once the copy is no longer used."""
        if self._undo is None:
            return
        sources = self._context.draft.get_value(_PATHS[self._undo[0]])
        listed = sources if isinstance(sources, list) else []
        if not any(source["source"] == self._undo[1] for source in listed):
            self._undo = None
            self._notice.clear()

    def _on_finished(self) -> None:
        self._dialog = None

    def _find_entry(self, files: FileSide, position: int) -> dict[str, Any] | None:
        sources = self._context.draft.get_value(_PATHS[files])
        is_there = isinstance(sources, list) and position < len(sources)
        return dict(sources[position]) if is_there else None


def find_copy_path(home: Home, name: str) -> Path:
    """Return the first free name for a corrected copy, in the program's own folder."""
    stem = slug(_CORRECTED.sub("", name.partition(".")[0]))
    folder = home.folder / "corrected"
    path, number = folder / f"{stem}-corrected.jsonl", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-corrected-{number}.jsonl"
    return path


def build_entry(entry: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the entry of a file in the recipe with its copy in its place."""
    gone = ("revision", "split", "documents", "skip_broken")
    return {**{key: one for key, one in entry.items() if key not in gone}, "source": path}


def replace_entry(draft: Draft, files: FileSide, position: int, entry: dict[str, Any]) -> None:
    """Changes one file of the recipe; it can be undone like every other change."""
    sources = draft.get_value(_PATHS[files])
    if isinstance(sources, list) and position < len(sources):
        sources[position] = entry
        draft.set_value(_PATHS[files], sources)


def describe_saved(saved: CopySaved, source: str) -> tuple[str, str]:
    """Return what was written, and the question whether it is to be used."""
    rows = f"{saved.rows:,} row" + ("" if saved.rows == 1 else "s")
    skipped = (
        f" Rows that cannot be read are not in it: {saved.skipped_rows:,}."
        if saved.skipped_rows
        else ""
    )
    title = f"The copy is saved: {rows}, {saved.changed_rows:,} of them corrected."
    return title, (
        f"{saved.path}{skipped}\n\nUse the copy instead of {Path(source).name}? Your file stays as "
        "it is, and you can go back."
    )
