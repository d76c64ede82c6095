"""What a file seems to be, and which of its columns plays which part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QSizePolicy, QVBoxLayout, QWidget

from studio.core.events.survey import FoundColumn, LayoutOption
from studio.core.events.types import RowShown, SourceExamined
from studio.core.recipe.fields import get_field_table
from studio.core.recipe.parts import FORMAT_PARTS, FormatPart, fill_columns, find_missing
from studio.gui.forms.editors.choices import build_choice_box
from studio.gui.forms.editors.lists import RowsBox
from studio.gui.forms.words import get_choice_name
from studio.gui.pages.data.xray_text import XrayText
from studio.gui.pages.data.xray_words import describe_row
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import (
    Chip,
    ChipKind,
    ElidedLabel,
    PlainLabel,
    allow_breaks,
    plain_tooltip,
)
from studio.gui.widgets.scroll import build_scroll_area

_CERTAINTY: dict[str, tuple[str, ChipKind]] = {
    "stated": ("as you chose", "accent"),
    "sure": ("sure", "success"),
    "likely": ("likely, please look", "warning"),
    "unsure": ("unclear, please choose", "error"),
    "unreadable": ("cannot be read", "error"),
}
_TYPING_MS = 500
_LABEL_WIDTH = 112
_BOX_WIDTH = 120
_LONGEST_WORDS = 44
SHOWN_ROWS = 3
_UNCLEAR = "They appear here as soon as the parts are clear."
_READING = "They appear here as soon as the model's tokenizer has read them …"


class ColumnsPanel(QWidget):
    """The format of one file, its parts as drop-downs, and the result; passive.

    Signals:
        source_chosen: The number of the file to show.
        layout_edited: Format and columns as the user wants them.
        way_chosen: A ``LayoutOption`` that the user took.
    """

    source_chosen = Signal(int)
    layout_edited = Signal(str, dict)
    way_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._found: SourceExamined | None = None
        self._format = ""
        self._columns: dict[str, str] = {}
        self._boxes: dict[str, QComboBox] = {}
        self._lines: dict[str, QLineEdit] = {}
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(_TYPING_MS)
        self._typing.timeout.connect(self._tell)
        self._source = QComboBox()
        self._source.setAccessibleName("File")
        self._source.setMinimumWidth(_BOX_WIDTH)
        self._source.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._source.activated.connect(self.source_chosen.emit)
        self._chip = Chip("")
        self._name = ElidedLabel("", "strong")
        self._why = PlainLabel("", "muted")
        self._options = RowsBox()
        self._format_box = build_choice_box(get_field_table()["data.train[].format"])
        self._format_box.setAccessibleName("Format")
        self._format_box.setMinimumWidth(_BOX_WIDTH)
        self._format_box.activated.connect(self._on_format_chosen)
        self._parts = RowsBox()
        self._parts.setSpacing(SIZES.s)
        self._results = [
            XrayText(f"Result, row {number + 1}", is_compact=True) for number in range(SHOWN_ROWS)
        ]
        self._abouts = [PlainLabel("", "caption") for _ in range(SHOWN_ROWS)]
        columns = QHBoxLayout(self)
        columns.setContentsMargins(0, SIZES.m, 0, 0)
        columns.setSpacing(SIZES.l)
        columns.addWidget(build_scroll_area(self._build_form()), 5)
        columns.addLayout(self._build_results(), 6)

    def show_sources(self, names: Sequence[str], chosen: int) -> None:
        """Offers the files of the recipe."""
        with QSignalBlocker(self._source):
            self._source.clear()
            self._source.addItems(list(names))
            self._source.setCurrentIndex(chosen)
        self._source.setVisible(len(names) > 1)

    def show_waiting(self) -> None:
        """Shows that the file is still being looked at."""
        self._chip.show_state("reading …", "plain")

    def show_found(self, found: SourceExamined, source: Mapping[str, Any]) -> None:
        """Shows what a file seems to be; ``source`` is its entry in the recipe."""
        self._found = found
        words, kind = _CERTAINTY[found.certainty]
        self._chip.show_state(words, kind)
        self._name.setText(
            get_choice_name(found.format) if found.format else found.seems or "Format not clear"
        )
        message = f"{found.message} {found.remedy}".strip() if found.message else found.why
        self._why.setText(allow_breaks(message))
        self._format = found.format or str(source.get("format", "auto"))
        self._columns = dict(found.columns) or dict(source.get("columns") or {})
        with QSignalBlocker(self._format_box):
            at = self._format_box.findData(self._format)
            self._format_box.setCurrentIndex(max(0, at))
        self._format_box.setEnabled(found.certainty != "unreadable")
        self._show_options(found)
        self._show_parts(found.found_columns)
        self._nothing.setText(_READING if found.format else _UNCLEAR)
        if not found.format:
            for index in range(SHOWN_ROWS):
                self.show_result(index, None)

    def show_result(self, index: int, row: RowShown | None) -> None:
        """Shows one of the first rows as the model would read it."""
        is_there = row is not None and row.count > 0
        self._results[index].show_row(row if is_there else None)
        self._abouts[index].setText(describe_row(row) if row is not None and is_there else "")
        self._results[index].setVisible(is_there)
        self._nothing.setVisible(not any(one.row is not None for one in self._results))

    def _build_form(self) -> QVBoxLayout:
        top = QHBoxLayout()
        top.setSpacing(SIZES.s)
        top.addWidget(self._name, 1)
        top.addWidget(self._chip)
        form = QVBoxLayout()
        form.setContentsMargins(0, 0, SIZES.s, 0)
        form.setSpacing(SIZES.s)
        form.addWidget(self._source)
        form.addLayout(top)
        form.addWidget(self._why)
        form.addLayout(self._options)
        form.addWidget(_build_row("Format", "How the rows are laid out.", self._format_box))
        form.addLayout(self._parts)
        self._hint = PlainLabel(
            "Choose a column for each part, or write a text with columns in braces, "
            "for example {title}: {body}",
            "caption",
        )
        form.addWidget(self._hint)
        form.addStretch(1)
        return form

    def _build_results(self) -> QVBoxLayout:
        box = QVBoxLayout()
        box.setSpacing(SIZES.xs)
        box.addWidget(PlainLabel("The first rows as the model reads them", "strong"))
        self._nothing = PlainLabel(_UNCLEAR, "muted")
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignTop)
        box.addWidget(self._nothing, 1)
        for about, result in zip(self._abouts, self._results, strict=True):
            result.hide()
            box.addWidget(about)
            box.addWidget(result, 1)
        return box

    def _show_options(self, found: SourceExamined) -> None:
        self._options.clear()
        for option in found.options:
            # Where the kind of file is known, the first way is what most people want.
            is_best = bool(found.seems) and option is found.options[0]
            told = describe_option(option)
            button = Button(_shorten(option.words or told), kind="primary" if is_best else "normal")
            button.setAccessibleName(told)
            button.setToolTip(plain_tooltip(told))
            button.clicked.connect(partial(self.way_chosen.emit, option))
            self._options.addWidget(button)
            if option.words and option.columns:
                self._options.addWidget(PlainLabel(allow_breaks(describe_parts(option)), "caption"))

    def _show_parts(self, columns: Sequence[FoundColumn]) -> None:
        wanted = FORMAT_PARTS.get(self._format, ())
        self._hint.setVisible(bool(wanted))
        if self._typing.isActive() or self._has_focus_inside():
            return  # the user is typing; what was found is an answer to what was typed before
        self._parts.clear()
        self._boxes, self._lines = {}, {}
        for part in wanted:
            box = self._build_part_box(part, columns)
            self._boxes[part.key] = box
            name = part.label if part.is_required else f"{part.label} (optional)"
            self._parts.addWidget(_build_row(name, part.help, box))

    def _has_focus_inside(self) -> bool:
        is_same = list(self._boxes) == self._keys()
        return is_same and any(line.hasFocus() for line in self._lines.values())

    def _keys(self) -> list[str]:
        return [part.key for part in FORMAT_PARTS.get(self._format, ())]

    def _build_part_box(self, part: FormatPart, columns: Sequence[FoundColumn]) -> QComboBox:
        box = QComboBox()
        line = self._lines[part.key] = QLineEdit()
        box.setLineEdit(line)
        box.setMinimumWidth(_BOX_WIDTH)
        box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        box.setAccessibleName(f"Column for: {part.label}")
        box.addItem("")
        for index, column in enumerate(columns, 1):
            box.addItem(column.name)
            tip = plain_tooltip(f"{column.kind}: {column.example}")
            box.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        box.setEditText(self._columns.get(part.key, ""))
        line.setPlaceholderText("choose a column" if part.is_required else "not used")
        line.textEdited.connect(lambda _: self._typing.start())
        box.activated.connect(lambda _: self._tell())
        return box

    def _on_format_chosen(self) -> None:
        self._format = str(self._format_box.currentData())
        if self._format == "auto":
            self.layout_edited.emit("auto", {})
            return
        self._columns = fill_columns(self._format, self._columns)
        self._show_parts(() if self._found is None else self._found.found_columns)
        self._tell()

    def _tell(self) -> None:
        self._typing.stop()
        typed = {key: box.currentText().strip() for key, box in self._boxes.items()}
        self._columns = fill_columns(self._format, {**self._columns, **typed})
        missing = find_missing(self._format, self._columns)
        if missing and self._found is not None and not self._found.format:
            names = " and ".join(part.label.lower() for part in missing)
            self._why.setText(f"Choose a column for: {names}.")
            return
        self.layout_edited.emit(self._format, dict(self._columns))


def describe_option(option: LayoutOption) -> str:
    """Return one way to read a file in words, such as ``Prompt: q, Answer: a``."""
    if option.documents:
        return option.words
    parts = describe_parts(option)
    if option.format == "text" and not option.words:
        return f"Running text: {', '.join(option.columns.values())}"
    told = parts if len(option.columns) > 1 else f"{get_choice_name(option.format)} ({parts})"
    return f"{option.words} ({parts})" if option.words else told


def describe_parts(option: LayoutOption) -> str:
    """Return which column plays which part, such as ``Prompt: q, Answer: a``."""
    labels = {part.key: part.label for part in FORMAT_PARTS.get(option.format, ())}
    return ", ".join(f"{labels.get(key, key)}: {one}" for key, one in option.columns.items())


def _shorten(words: str) -> str:
    return words if len(words) <= _LONGEST_WORDS else f"{words[: _LONGEST_WORDS - 2]} …"


def _build_row(name: str, help_text: str, editor: QWidget) -> QWidget:
    row = QWidget()
    label = PlainLabel(name)
    label.setFixedWidth(_LABEL_WIDTH)
    label.setToolTip(plain_tooltip(help_text))
    label.setBuddy(editor)
    editor.setToolTip(plain_tooltip(help_text))
    line = QHBoxLayout(row)
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(SIZES.s)
    line.addWidget(label)
    line.addWidget(editor, 1)
    return row
