"""How a conversation becomes text and who of it is learnt, with the result beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from studio.core.events.types import DataSurveyed, RowShown, TemplateTried
from studio.core.recipe.fields import get_field_table
from studio.gui.forms.editors.numbers import build_counter
from studio.gui.forms.row import FieldRow
from studio.gui.pages.data.xray_text import XrayText
from studio.gui.pages.data.xray_words import describe_row
from studio.gui.theme.fonts import build_mono_font
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel, allow_breaks, plain_tooltip
from studio.gui.widgets.scroll import build_scroll_area

_TYPING_MS = 400
_SETTINGS = ("data.supervise", "data.supervise_turns", "data.think")
_ROLES = {"user": "User", "system": "System", "tool": "Tool"}
_WITHOUT_TURNS = {
    "text": "Running text is learnt as a whole: it has no questions and answers between which to "
    "choose, and no chat template is used.",
    "tokens": "Rows of token numbers are used just as they are; their column for labels says what "
    "is learnt, and without one all of it is.",
}
_TEMPLATE_FILTER = "Chat templates (*.jinja *.jinja2 *.txt);;All files (*)"


class LearningPanel(QWidget):
    """The template with an editor, the settings of what is learnt, and a row; passive.

    Signals:
        setting_edited: A dotted path and its new value.
        trial_wanted: The text of a template, and the row to write with it.
        template_saved: The text of a template that is to be used.
        row_wanted: The row to show with the settings in force.
    """

    setting_edited = Signal(str, object)
    trial_wanted = Signal(str, int)
    template_saved = Signal(str)
    row_wanted = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._source = ""
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._typing.timeout.connect(self._on_typing_rested)
        self._settings = {path: self._build_setting(path) for path in _SETTINGS}
        columns = QHBoxLayout(self)
        columns.setContentsMargins(0, SIZES.m, 0, 0)
        columns.setSpacing(SIZES.l)
        columns.addWidget(build_scroll_area(self._build_left()), 11)
        columns.addLayout(self._build_right(), 9)
        self.show_editing(is_editing=False)

    @property
    def is_editing(self) -> bool:
        """True while a template is edited that is not in use yet."""
        return not self._editor.isReadOnly()

    def show_values(self, data: Mapping[str, Any]) -> None:
        """Shows the data part of the recipe."""
        for path, row in self._settings.items():
            row.show_value(data[path.removeprefix("data.")])
        for role, box in self._roles.items():
            with QSignalBlocker(box):
                box.setChecked(role in data["supervise_roles"])
            box.setEnabled(data["supervise"] != "everything")
        self._show_choice(str(data["template"]))

    def show_formats(self, formats: Collection[str]) -> None:
        """Shows the choices that matter for rows of these formats, or why there are none."""
        has_turns = not formats or not set(formats) <= set(_WITHOUT_TURNS)
        kinds = ("text", "tokens") if not has_turns else ()
        told = [_WITHOUT_TURNS[kind] for kind in kinds if kind in formats]
        self._whole.setText(" ".join(told))
        self._whole.setVisible(bool(told))
        self._turns.setVisible(has_turns)

    def show_template(self, surveyed: DataSurveyed) -> None:
        """Shows the text of the template in force; one that is being edited stays."""
        self._source = surveyed.template_source
        self._edit.setEnabled(True)
        self._row.setMaximum(max(1, surveyed.rows))
        if not self.is_editing:
            self._show_source()

    def ask_again(self) -> None:
        """Asks for the row once more, because something about it may have changed."""
        self.row_wanted.emit(self._row.value())

    def show_row(self, row: RowShown | None, message: str = "") -> None:
        """Shows a row as the template writes it, or what is wrong with the template."""
        is_there = row is not None and row.count > 0
        self._result.show_row(row if is_there else None)
        words = describe_row(row) if row is not None and is_there else ""
        self._about.setText(allow_breaks(message or words))
        self._about.set_role("error" if message else "caption")

    def show_trial(self, tried: TemplateTried) -> None:
        """Shows what the edited template makes of the row."""
        if not self.is_editing:
            return
        line = f"Line {tried.line}: " if tried.line else ""
        self.show_row(tried.row, f"{line}{tried.message}" if tried.message else "")
        self._save.setEnabled(not tried.message)

    def show_editing(self, *, is_editing: bool) -> None:
        """Begins or ends editing the template."""
        self._editor.setReadOnly(not is_editing)
        self._edit.setVisible(not is_editing)
        self._editor.setVisible(is_editing)
        self._who.setVisible(not is_editing)
        self._save.setVisible(is_editing)
        self._discard.setVisible(is_editing)
        if not is_editing:
            self._typing.stop()
            self._show_source()

    def _build_left(self) -> QVBoxLayout:
        self._template = QComboBox()
        self._template.setAccessibleName("Chat template")
        self._template.activated.connect(self._on_template_chosen)
        self._editor = QPlainTextEdit()
        self._editor.setFont(build_mono_font())
        self._editor.setTabChangesFocus(True)
        self._editor.setMinimumHeight(150)
        self._editor.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._editor.setAccessibleName("Text of the template")
        self._editor.textChanged.connect(self._on_text_changed)
        self._edit = Button("Edit a copy", "pencil")
        self._edit.setEnabled(False)
        self._edit.clicked.connect(self._on_edit_clicked)
        self._save = Button("Use this template", "check", "primary")
        self._save.clicked.connect(lambda: self.template_saved.emit(self._editor.toPlainText()))
        self._discard = Button("Discard")
        self._discard.clicked.connect(self._on_discard_clicked)
        buttons = QHBoxLayout()
        buttons.setSpacing(SIZES.s)
        for button in (self._edit, self._save, self._discard):
            buttons.addWidget(button)
        buttons.addStretch(1)
        self._whole = PlainLabel("", "muted")
        self._whole.setAccessibleName("What is learnt of these rows")
        self._whole.hide()
        self._turns = QWidget()
        box = QVBoxLayout(self._turns)
        box.setContentsMargins(0, 0, SIZES.s, 0)
        box.setSpacing(SIZES.m)
        box.addWidget(PlainLabel("How turns become text: the chat template", "strong"))
        box.addWidget(self._template)
        box.addWidget(self._editor, 1)
        box.addLayout(buttons)
        box.addWidget(self._build_who())
        box.addStretch(0)
        left = QVBoxLayout()
        left.setContentsMargins(0, 0, 0, 0)
        left.addWidget(self._whole, 0, Qt.AlignmentFlag.AlignTop)
        left.addWidget(self._turns, 1)
        return left

    def _build_who(self) -> QWidget:
        self._who = QWidget()
        box = QVBoxLayout(self._who)
        box.setContentsMargins(0, SIZES.s, 0, 0)
        box.setSpacing(SIZES.m)
        box.addWidget(PlainLabel("Who is learnt", "strong"))
        for path in _SETTINGS:
            box.addWidget(self._settings[path])
            if path == "data.supervise":
                box.addLayout(self._build_roles())
        box.addStretch(1)
        return self._who

    def _build_roles(self) -> QHBoxLayout:
        spec = get_field_table()["data.supervise_roles"]
        label = PlainLabel("Learn from others too", wraps=False)
        label.setToolTip(plain_tooltip(spec.help))
        line = QHBoxLayout()
        line.setSpacing(SIZES.m)
        line.addWidget(label)
        self._roles: dict[str, QCheckBox] = {}
        for role, name in _ROLES.items():
            box = QCheckBox(name)
            box.setAccessibleName(f"Learn what is said by: {name}")
            box.setToolTip(plain_tooltip(spec.help))
            box.toggled.connect(self._on_role_toggled)
            self._roles[role] = box
            line.addWidget(box)
        line.addStretch(1)
        return line

    def _build_right(self) -> QVBoxLayout:
        self._row = build_counter("Row to look at", 120)
        self._row.setPrefix("Row ")
        self._row.setMaximum(1)
        self._row.valueChanged.connect(self._on_row_chosen)
        self._result = XrayText("The row as the template writes it")
        self._about = PlainLabel("", "caption")
        top = QHBoxLayout()
        top.addWidget(PlainLabel("What comes of it", "strong"), 1)
        top.addWidget(self._row)
        box = QVBoxLayout()
        box.setSpacing(SIZES.s)
        box.addLayout(top)
        box.addWidget(self._about)
        box.addWidget(self._result, 1)
        return box

    def _build_setting(self, path: str) -> FieldRow:
        row = FieldRow(get_field_table()[path])
        row.edited.connect(self.setting_edited)
        return row

    def _show_choice(self, template: str) -> None:
        with QSignalBlocker(self._template):
            self._template.clear()
            self._template.addItem("The model's own template", "auto")
            self._template.addItem("Plain: one turn after the other", "plain")
            if template not in ("auto", "plain"):
                self._template.addItem(f"The file {Path(template).name}", template)
            self._template.addItem("A file…", "")
            self._template.setCurrentIndex(max(0, self._template.findData(template)))

    def _show_source(self) -> None:
        with QSignalBlocker(self._editor):
            plain = "" if self._source == "plain" else self._source
            self._editor.setPlainText(plain)
            self._editor.setPlaceholderText("This way of writing needs no template.")

    def _on_template_chosen(self) -> None:
        wanted = str(self._template.currentData())
        if not wanted:
            wanted, _filter = QFileDialog.getOpenFileName(
                self, "Chat template", "", _TEMPLATE_FILTER
            )
        if wanted:
            self.show_editing(is_editing=False)
            self.setting_edited.emit("data.template", wanted)

    def _on_edit_clicked(self) -> None:
        self.show_editing(is_editing=True)
        self._editor.setFocus(Qt.FocusReason.OtherFocusReason)
        self._on_typing_rested()

    def _on_discard_clicked(self) -> None:
        self.show_editing(is_editing=False)
        self.row_wanted.emit(self._row.value())

    def _on_text_changed(self) -> None:
        if self.is_editing:
            self._save.setEnabled(False)
            self._typing.start()

    def _on_typing_rested(self) -> None:
        self.trial_wanted.emit(self._editor.toPlainText(), self._row.value())

    def _on_row_chosen(self, row: int) -> None:
        if self.is_editing:
            self._on_typing_rested()
        else:
            self.row_wanted.emit(row)

    def _on_role_toggled(self) -> None:
        chosen = [role for role, box in self._roles.items() if box.isChecked()]
        self.setting_edited.emit("data.supervise_roles", chosen)
