"""The window in which rows are corrected: fields on the left, what becomes of them on the right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QDialog, QFileDialog, QHBoxLayout, QMessageBox, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.events.types import CopyProgressed, RowOpened, RowTried
from studio.gui.pages.data.correction.row_form import RowForm
from studio.gui.pages.data.xray_text import XrayText
from studio.gui.pages.data.xray_words import describe_row, get_finding_name
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.labels import Chip, ElidedLabel, PlainLabel, allow_breaks
from studio.gui.widgets.notice import Notice

_SIZE = QSize(1000, 640)
_FILTER = "JSONL (*.jsonl)"


class CorrectionDialog(QDialog):
    """Keeps the corrected rows of one file until they are saved as a copy; passive.

    Signals:
        step_requested: The row after (1) or before (-1) this one is wanted.
        trial_requested: The fields of this row, the text of a JSON object.
        save_requested: The corrected rows by index, each the text of a JSON object, and the path.
        cancel_requested: The copy that is being written is not wanted any more.
    """

    step_requested = Signal(int)
    trial_requested = Signal(str)
    save_requested = Signal(object, str)
    cancel_requested = Signal()

    def __init__(self, name: str, path: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Correct rows of {name}")
        self.resize(_SIZE)
        self._path = path
        self._name = name
        self._opened: RowOpened | None = None
        self._changes: dict[int, str] = {}
        self._faults: dict[int, str] = {}
        self._is_saving = False
        self._notice = Notice()
        self._place = ElidedLabel("", "heading")
        self._state = Chip("")
        self._back = IconButton("chevron-left", "Previous row")
        self._back.clicked.connect(lambda: self.step_requested.emit(-1))
        self._forth = IconButton("chevron-right", "Next row")
        self._forth.clicked.connect(lambda: self.step_requested.emit(1))
        self._form = RowForm()
        self._form.edited.connect(self._on_form_edited)
        self._result = XrayText("The corrected row token by token")
        self._about = PlainLabel("", "caption")
        self._target = ElidedLabel("", "caption")
        self._build_layout()
        self._show_state()

    @property
    def changes(self) -> Mapping[int, str]:
        """The corrected rows, not saved yet."""
        return self._changes

    def show_steps(self, *, has_back: bool, has_forth: bool) -> None:
        """Shows whether there is a row before and after this one."""
        self._back.setEnabled(has_back)
        self._forth.setEnabled(has_forth)

    def show_row(self, opened: RowOpened) -> None:
        """Shows the fields of a row, as corrected where it was."""
        self._opened = opened
        text = self._changes.get(opened.index, opened.values)
        self._place.setText(opened.place)
        self._form.show_row(json.loads(text), opened.format, opened.columns)
        self._notice.clear()
        self._show_state()
        self.trial_requested.emit(text)

    def show_trial(self, tried: RowTried) -> None:
        """Shows what becomes of the fields, or what is wrong with them."""
        if self._opened is None:
            return
        self._result.show_row(tried.row)
        if tried.message:
            self._refuse(tried.message)
            return
        self._faults.pop(self._opened.index, None)
        words = "" if tried.row is None else describe_row(tried.row)
        if tried.row is not None and tried.row.problems:
            names = ", ".join(get_finding_name(code) for code in tried.row.problems)
            words = f"{words}. Found: {names}."
        self._about.setText(allow_breaks(words))
        self._about.set_role("caption")
        self._show_state()

    def show_progress(self, told: CopyProgressed) -> None:
        """Shows how far the copy is."""
        self._target.setText(f"{told.rows:,} rows written …")

    def show_saving(self, *, is_saving: bool) -> None:
        """Locks or unlocks what must not change while the copy is written."""
        self._is_saving = is_saving
        self._form.setEnabled(not is_saving)
        self._cancel.setText("&Stop" if is_saving else "&Cancel")
        self._show_state()

    def show_error(self, error: StudioError) -> None:
        """Shows why a row was not opened or the copy not written."""
        self.show_saving(is_saving=False)
        self._notice.show_error(error)

    def flush(self) -> None:
        """Takes over what was typed last."""
        if self._form.is_typing:
            self._form.tell()

    def reject(self) -> None:
        """Closes without saving; asks first where something would be lost."""
        if self._is_saving:
            self.cancel_requested.emit()
            self.show_saving(is_saving=False)
            return
        self.flush()
        if not self._changes or self._may_lose():
            super().reject()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """Closes as Cancel does."""
        self.reject()
        event.setAccepted(not self.isVisible())

    def _build_layout(self) -> None:
        self._save = Button("&Save a corrected copy", "check", "primary")
        self._save.clicked.connect(self._on_save_clicked)
        self._cancel = Button("&Cancel")
        self._cancel.clicked.connect(self.reject)
        self._choose = Button("Save elsewhere…", kind="quiet")
        self._choose.clicked.connect(self._on_choose_clicked)
        top = QHBoxLayout()
        top.setSpacing(SIZES.s)
        for widget in (self._back, self._forth):
            top.addWidget(widget)
        top.addWidget(self._place, 1)
        top.addWidget(self._state)
        right = QVBoxLayout()
        right.setSpacing(SIZES.xs)
        right.addWidget(PlainLabel("What the model gets", "strong"))
        right.addWidget(self._about)
        right.addWidget(self._result, 1)
        columns = QHBoxLayout()
        columns.setSpacing(SIZES.l)
        columns.addWidget(self._form, 1)
        columns.addLayout(right, 1)
        foot = QHBoxLayout()
        foot.setSpacing(SIZES.s)
        foot.addWidget(self._target, 1)
        for button in (self._choose, self._cancel, self._save):
            button.setAutoDefault(False)
            foot.addWidget(button)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.xl, SIZES.l, SIZES.xl, SIZES.l)
        box.setSpacing(SIZES.m)
        box.addLayout(top)
        box.addWidget(self._notice)
        box.addLayout(columns, 1)
        box.addWidget(PlainLabel(f"{self._name} itself stays as it is.", "caption"))
        box.addLayout(foot)

    def _on_form_edited(self, told: Any) -> None:
        if self._opened is None:
            return
        if isinstance(told, str):
            self._refuse(told)
            return
        index, text = self._opened.index, json.dumps(told)
        self._faults.pop(index, None)
        if text == self._opened.values:
            self._changes.pop(index, None)
        else:
            self._changes[index] = text
        self._show_state()
        self.trial_requested.emit(text)

    def _refuse(self, message: str) -> None:
        if self._opened is not None:
            self._faults[self._opened.index] = message
        self._about.setText(allow_breaks(message))
        self._about.set_role("error")
        self._show_state()

    def _show_state(self) -> None:
        index = -1 if self._opened is None else self._opened.index
        if index in self._faults:
            self._state.show_state("not right yet", "error")
        elif index in self._changes:
            self._state.show_state("corrected", "accent")
        else:
            self._state.show_state("as in the file", "plain")
        count = len(self._changes)
        rows = f" ({count:,} row{'' if count == 1 else 's'})" if count else ""
        self._save.set_text_and_icon(f"&Save a corrected copy{rows}", "check")
        self._save.setEnabled(bool(count) and not self._faults and not self._is_saving)
        self._choose.setEnabled(not self._is_saving)
        if not self._is_saving:
            self._target.setText(f"The copy: {self._path}")

    def _on_choose_clicked(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the copy as", str(self._path), _FILTER)
        if path:
            chosen = Path(path)
            self._path = chosen if chosen.suffix else chosen.with_suffix(".jsonl")
            self._show_state()

    def _on_save_clicked(self) -> None:
        self.flush()
        if self._changes and not self._faults:
            self._notice.clear()
            self.show_saving(is_saving=True)
            self.save_requested.emit(dict(self._changes), str(self._path))

    def _may_lose(self) -> bool:
        box = build_question(
            self, "Corrections are not saved yet.", "They are lost when you close now."
        )
        lose = box.addButton("Throw them away", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton("Stay here", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(stay)
        box.setEscapeButton(stay)
        box.exec()
        return box.clickedButton() is lose


def build_question(parent: QWidget, text: str, more: str) -> QMessageBox:
    """Return a question without its buttons."""
    box = QMessageBox(parent)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("Corrected rows")
    box.setText(text)
    box.setInformativeText(more)
    return box
