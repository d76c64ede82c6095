"""The window in which open places of rows, such as ``{{name}}``, are filled in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from studio.core.events.survey import OpenPlace
from studio.gui.forms.editors.lists import RowsBox
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, allow_breaks, plain_tooltip
from studio.gui.widgets.scroll import build_scroll_area

_WIDTH = 640
_ROW_HEIGHT = 84
_SHOWN = 5


@dataclass(frozen=True)
class NamedPlace:
    """All places of one name: in how many rows, a few words around one, what is put there."""

    name: str
    rows: int
    quote: str
    words: str


def join_places(places: Iterable[OpenPlace], words: Mapping[str, str]) -> tuple[NamedPlace, ...]:
    """Return the places of all files by name, those in most rows first, then by the alphabet.

    The order in which they are found changes when some of them are filled.
    """
    rows: dict[str, int] = {}
    quotes: dict[str, str] = {}
    for one in places:
        rows[one.name] = rows.get(one.name, 0) + one.rows
        quotes[one.name] = quotes.get(one.name) or one.quote
    found = [NamedPlace(one, rows[one], quotes[one], words.get(one, "")) for one in rows]
    return tuple(sorted(found, key=lambda one: (-one.rows, one.name)))


class PlacesDialog(QDialog):
    """One line per name; nothing changes until it is applied.

    Signals:
        words_chosen: The words by the name of the place; empty where it stays open.
        leaving_out_chosen: The rows with open places are not to be learnt from.
    """

    words_chosen = Signal(dict)
    leaving_out_chosen = Signal()

    def __init__(self, places: Iterable[NamedPlace], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Fill in open places")
        self.setMinimumWidth(_WIDTH)
        self._lines: dict[str, QLineEdit] = {}
        rows = RowsBox()
        rows.setSpacing(SIZES.m)
        rows.setContentsMargins(0, 0, SIZES.s, 0)
        for place in places:
            rows.addWidget(self._build_row(place))
        rows.addStretch(1)
        area = build_scroll_area(rows)
        area.setMinimumHeight(_ROW_HEIGHT * min(_SHOWN, max(1, len(self._lines))))
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.xl, SIZES.l, SIZES.xl, SIZES.l)
        box.setSpacing(SIZES.m)
        box.addWidget(PlainLabel("What stands in these places?", "heading"))
        about = (
            "Your words are put in wherever a row has the name in double braces. The file itself "
            "stays as it is. A place that you leave empty stays open."
        )
        box.addWidget(PlainLabel(about, "muted"))
        box.addWidget(area, 1)
        box.addLayout(self._build_buttons())
        self._show_state()

    def _build_row(self, place: NamedPlace) -> QWidget:
        row = QWidget()
        name = f"{{{{{place.name}}}}}"
        line = self._lines[place.name] = QLineEdit(place.words)
        line.setAccessibleName(f"Words for {name}")
        line.setPlaceholderText("stays open")
        line.textEdited.connect(self._show_state)
        label = PlainLabel(allow_breaks(name), "strong")
        label.setBuddy(line)
        label.setFixedWidth(_WIDTH // 4)
        label.setToolTip(plain_tooltip(name))
        count = "1 row" if place.rows == 1 else f"{place.rows:,} rows"
        top = QHBoxLayout()
        top.setSpacing(SIZES.m)
        top.addWidget(label)
        top.addWidget(line, 1)
        box = QVBoxLayout(row)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.xs)
        box.addLayout(top)
        words = f"{count}, such as: {place.quote}" if place.quote else f"{count}"
        box.addWidget(ElidedLabel(words, "caption"))
        return row

    def _build_buttons(self) -> QHBoxLayout:
        self._leave = Button("&Leave these rows out")
        self._leave.setToolTip("Rows with a place that stays open are not learnt from.")
        self._leave.setAutoDefault(False)
        self._leave.clicked.connect(self._on_leave_clicked)
        cancel = Button("&Cancel")
        cancel.setAutoDefault(False)
        cancel.clicked.connect(self.reject)
        self._apply = Button("&Fill in", "check", "primary")
        self._apply.setDefault(True)
        self._apply.clicked.connect(self._on_apply_clicked)
        buttons = QHBoxLayout()
        buttons.setSpacing(SIZES.s)
        buttons.addWidget(self._leave)
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self._apply)
        return buttons

    def _show_state(self) -> None:
        self._leave.setVisible(any(not line.text() for line in self._lines.values()))

    def _on_apply_clicked(self) -> None:
        self.words_chosen.emit({name: line.text() for name, line in self._lines.items()})
        self.accept()

    def _on_leave_clicked(self) -> None:
        self.words_chosen.emit({name: line.text() for name, line in self._lines.items()})
        self.leaving_out_chosen.emit()
        self.accept()
