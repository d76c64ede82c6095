"""The training files of the draft, one line each, and what is held back for validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.events.types import SourceExamined
from studio.core.recipe.fields import get_field_table
from studio.gui.forms.editors.choices import build_choice_box
from studio.gui.forms.editors.lists import RowsBox
from studio.gui.forms.words import get_choice_name
from studio.gui.pages.data.source_dialog import SourceDialog, ValidationDialog
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.card import Card
from studio.gui.widgets.icon import Icon
from studio.gui.widgets.labels import Chip, ChipKind, ElidedLabel, PlainLabel
from studio.gui.widgets.scroll import build_scroll_area
from studio.gui.widgets.switch import Switch

_ROW_HEIGHT = 51
_FINDINGS: dict[str, tuple[str, ChipKind]] = {
    "likely": ("please look", "warning"),
    "unsure": ("unclear", "error"),
    "unreadable": ("unreadable", "error"),
}
_SHOWN_ROWS = 4


class FilesCard(Card):
    """Shows files, their number of rows and their format.

    Signals:
        sources_edited: All sources, after the user changed one.
        source_selected: The number of the source whose rows are wanted.
        validation_edited: What is measured on: a share of the rows, or files of their own.
    """

    sources_edited = Signal(list)
    source_selected = Signal(int)
    validation_edited = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.setAccessibleName("Training data")
        self.body.setContentsMargins(SIZES.m, SIZES.s, SIZES.m, SIZES.s)
        self._sources: list[dict[str, Any]] = []
        self._rows: list[SourceRow] = []
        self._box = RowsBox()
        self._area = build_scroll_area(self._box)
        self.body.addWidget(self._area)
        self._validation: Any = {"fraction": 0.0}
        self._held = PlainLabel("", "muted", wraps=False)
        self._change = Button("Change…", kind="quiet")
        self._change.setAccessibleName("Change the validation rows")
        self._change.clicked.connect(self._on_change_clicked)
        line = QHBoxLayout()
        line.setContentsMargins(SIZES.xs, 0, 0, 0)
        line.addWidget(self._held)
        line.addWidget(self._change)
        line.addStretch(1)
        self.body.addLayout(line)

    def show_validation(self, value: Any) -> None:
        """Shows what is held back for validation."""
        self._validation = value
        self._held.setText(describe_validation(value))

    def show_sources(self, sources: Sequence[Mapping[str, Any]]) -> None:
        """Shows other sources."""
        shown = [dict(source) for source in sources]
        if shown == self._sources:
            return
        self._sources = shown
        self._box.clear()
        self._rows = []
        for place, source in enumerate(shown):
            row = SourceRow(source)
            row.removed.connect(partial(self._on_row_removed, place))
            row.switched.connect(partial(self._on_row_switched, place))
            row.format_chosen.connect(partial(self._on_row_format_chosen, place))
            row.more_requested.connect(partial(self._on_row_more_requested, place))
            row.selected.connect(partial(self.source_selected.emit, place))
            self._rows.append(row)
            self._box.addWidget(row)
        self._area.setFixedHeight(_ROW_HEIGHT * min(len(shown), _SHOWN_ROWS) + SIZES.xs)

    def get_controls(self) -> list[QWidget]:
        """Return the controls of all rows in the order in which Tab should reach them."""
        controls = [control for row in self._rows for control in row.controls]
        return [*controls, self._change]

    def show_row_count(self, place: int, words: str, *, is_broken: bool = False) -> None:
        """Shows how many rows a source has."""
        if place < len(self._rows):
            self._rows[place].show_count(words, is_broken=is_broken)

    def show_examined(self, found: SourceExamined) -> None:
        """Shows what a source seems to be and how sure that is."""
        if found.position < len(self._rows):
            words, kind = _FINDINGS.get(found.certainty, ("", "success"))
            row = self._rows[found.position]
            row.show_finding(words or get_choice_name(found.format), kind)

    def _on_change_clicked(self) -> None:
        dialog = ValidationDialog(self._validation, self.window())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.validation_edited.connect(self.validation_edited)
        dialog.open()

    def _on_row_switched(self, place: int, is_on: bool) -> None:
        self._replace(place, {**self._sources[place], "enabled": is_on})

    def _on_row_removed(self, place: int) -> None:
        rest = [source for index, source in enumerate(self._sources) if index != place]
        self.sources_edited.emit(rest)

    def _on_row_format_chosen(self, place: int, value: str) -> None:
        self._replace(place, {**self._sources[place], "format": value})

    def _on_row_more_requested(self, place: int) -> None:
        source = self._sources[place]
        dialog = SourceDialog(source, Path(str(source.get("source", ""))).name, self.window())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.source_edited.connect(partial(self._replace, place))
        dialog.open()

    def _replace(self, place: int, source: dict[str, Any]) -> None:
        sources = [dict(other) for other in self._sources]
        sources[place] = source
        self.sources_edited.emit(sources)


class SourceRow(QWidget):
    """One file.

    Signals:
        removed: The user takes the file away.
        switched: Whether the file is learnt from.
        format_chosen: How its rows are laid out.
        selected: The user wants to see its rows.
        more_requested: The user wants its less common settings.
    """

    removed = Signal()
    switched = Signal(bool)
    format_chosen = Signal(str)
    selected = Signal()
    more_requested = Signal()

    def __init__(self, source: Mapping[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        path = Path(str(source.get("source", "")))
        self._chip = Chip("Reading …")
        self._finding = Chip("")
        self._finding.hide()
        is_on = bool(source.get("enabled", True))
        switch = Switch(f"Learn from {path.name}")
        switch.setToolTip("Learn from this file")
        switch.setChecked(is_on)
        switch.clicked.connect(self.switched)
        self._format = self._build_format_box(str(source.get("format", "auto")), path.name)
        show = IconButton("eye", f"Show rows of {path.name}")
        show.clicked.connect(self.selected)
        more = IconButton("recipe", f"More settings of {path.name}")
        more.clicked.connect(self.more_requested)
        remove = IconButton("close", f"Take away {path.name}")
        remove.clicked.connect(self.removed)
        names = QVBoxLayout()
        names.setSpacing(0)
        names.addWidget(ElidedLabel(path.name, "strong" if is_on else "muted"))
        names.addWidget(ElidedLabel(describe_source(source), "caption"))
        line = QHBoxLayout(self)
        line.setContentsMargins(SIZES.xs, SIZES.xs, SIZES.xs, SIZES.xs)
        line.setSpacing(SIZES.s)
        line.addWidget(switch)
        line.addWidget(Icon("file", "accent" if is_on else "faint", 22))
        line.addLayout(names, 1)
        line.addWidget(self._chip, 0, Qt.AlignmentFlag.AlignVCenter)
        line.addWidget(self._finding, 0, Qt.AlignmentFlag.AlignVCenter)
        self.controls: tuple[QWidget, ...] = (switch, self._format, more, show, remove)
        line.addWidget(self._format)
        line.addWidget(more)
        line.addWidget(show)
        line.addWidget(remove)

    def show_count(self, words: str, *, is_broken: bool = False) -> None:
        """Shows how many rows the file has, or that it has none that can be read."""
        self._chip.show_state(words, "error" if is_broken else "plain")

    def show_finding(self, words: str, kind: ChipKind) -> None:
        """Shows how sure it is what the file is."""
        self._finding.show_state(words, kind)
        self._finding.show()

    def _build_format_box(self, value: str, name: str) -> QComboBox:
        box = build_choice_box(get_field_table()["data.train[].format"])
        box.setMinimumWidth(120)
        box.setMaximumWidth(170)
        box.setAccessibleName(f"Format of {name}")
        with QSignalBlocker(box):
            box.setCurrentIndex(max(0, box.findData(value)))
        box.activated.connect(lambda _row: self.format_chosen.emit(str(box.currentData())))
        return box


def describe_source(source: Mapping[str, Any]) -> str:
    """Return where a file lies and what is special about how it is used."""
    words = []
    if source.get("weight", 1.0) != 1.0:
        words.append(f"{source['weight']:g} times as often")
    if source.get("limit") is not None:
        words.append(f"first {source['limit']:,} rows")
    if source.get("split", "train") != "train":
        words.append(f"part {source['split']}")
    if source.get("skip_broken"):
        words.append("broken rows left out")
    if source.get("enabled") is False:
        words.append("not in use")
    folder = str(Path(str(source.get("source", ""))).parent)
    return " · ".join([*words, folder])


def describe_validation(value: Any) -> str:
    """Return what is held back for validation, in words."""
    if isinstance(value, Mapping):
        share = 100 * float(value.get("fraction", 0.0))
        if share == 0:
            return "Validation: none, so it is not seen whether the model learns or memorises."
        return f"Validation: {share:g} % of the rows are held back, the same ones every time."
    names = ", ".join(Path(str(source.get("source", ""))).name for source in value)
    return f"Validation: {names}." if names else "Validation: no file chosen yet."
