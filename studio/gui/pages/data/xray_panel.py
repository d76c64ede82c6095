"""Any row of the data token by token: which one, in which order, with what wrong."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QPlainTextEdit,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from studio.core.events.types import RowShown
from studio.gui.forms.editors.numbers import build_counter
from studio.gui.pages.data.xray_text import SignSample, XrayText
from studio.gui.pages.data.xray_words import (
    LEGEND,
    describe_row,
    explain_token,
    get_finding_name,
)
from studio.gui.theme.fonts import build_mono_font
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.labels import ElidedLabel, PlainLabel

ORDERS = {
    "file": "As in the files",
    "most_cut": "Most cut first",
    "least_learnt": "Least learnt first",
    "longest": "Longest first",
    "most_tokens": "Most tokens per character first",
}
_HINT = "Point at a token, or walk through the text with the arrow keys, to see what becomes of it."


class XrayPanel(QWidget):
    """Shows one row and lets the user walk through all of them; passive.

    Signals:
        row_wanted: Place in the list, finding (empty: all) and order.
        leave_out_toggled: The mark of a row, and whether it is to be left out.
    """

    row_wanted = Signal(int, str, str)
    leave_out_toggled = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._row: RowShown | None = None
        self._excluded: frozenset[str] = frozenset()
        self._text = XrayText()
        self._text.token_pointed.connect(self._on_token_pointed)
        self._written = QPlainTextEdit()
        self._written.setReadOnly(True)
        self._written.setFont(build_mono_font())
        self._written.setTabChangesFocus(True)
        self._written.setAccessibleName("The row as it is written in the file")
        self._written.hide()
        self._about = ElidedLabel("", "strong")
        self._token = PlainLabel(_HINT, "caption")
        self._token.setMinimumHeight(2 * self._token.fontMetrics().lineSpacing())
        self._token.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._leave_out = Button("Leave out this row", "close", "quiet")
        self._leave_out.clicked.connect(self._on_leave_out_clicked)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, SIZES.m, 0, 0)
        box.setSpacing(SIZES.s)
        box.addLayout(self._build_walk())
        box.addLayout(self._build_about())
        both = QSplitter(Qt.Orientation.Horizontal)
        both.setChildrenCollapsible(False)
        both.addWidget(self._text)
        both.addWidget(self._written)
        both.setStretchFactor(0, 3)
        both.setStretchFactor(1, 2)
        box.addWidget(both, 1)
        box.addWidget(self._token)
        for keys, step in (("Alt+Right", 1), ("Alt+Left", -1)):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda step=step: self._walk(step))

    @property
    def row(self) -> RowShown | None:
        """The row that is shown."""
        return self._row

    def show_findings(self, findings: Mapping[str, int]) -> None:
        """Offers the findings to look at, with their number of rows; the chosen one stays."""
        chosen = self._finding.currentData() or ""
        with QSignalBlocker(self._finding):
            self._finding.clear()
            self._finding.addItem("All rows", "")
            for code, count in sorted(findings.items(), key=lambda one: -one[1]):
                self._finding.addItem(f"{get_finding_name(code)} ({count:,})", code)
            self._finding.setCurrentIndex(max(0, self._finding.findData(chosen)))

    def show_excluded(self, marks: frozenset[str]) -> None:
        """Tells which rows the user left out by hand."""
        self._excluded = marks
        self._show_leave_out()

    def show_row(self, row: RowShown) -> None:
        """Shows a row and where it stands in its list."""
        self._row = row
        is_there = row.count > 0
        self._about.setText(describe_row(row) if is_there else "No row is like that.")
        self._text.show_row(row if is_there else None)
        self._written.setPlainText(row.written)
        self._token.setText(self._describe(row) if is_there else "")
        with QSignalBlocker(self._number):
            self._number.setRange(min(1, row.count), row.count)
            self._number.setValue(row.rank + 1)
        self._count.setText(f"of {row.count:,}")
        self._back.setEnabled(row.rank > 0)
        self._forth.setEnabled(row.rank + 1 < row.count)
        self._show_leave_out()

    def choose_list(self, finding: str, rank: int = 0) -> None:
        """Asks for a row of those with a finding."""
        with QSignalBlocker(self._finding), QSignalBlocker(self._by):
            self._finding.setCurrentIndex(max(0, self._finding.findData(finding)))
            self._by.setCurrentIndex(0)
        self._ask(rank)

    def ask_again(self) -> None:
        """Asks for the row at the same place, because something about it may have changed."""
        self._ask(0 if self._row is None else self._row.rank)

    def _build_walk(self) -> QHBoxLayout:
        self._back = IconButton("chevron-left", "Previous row (Alt+Left)")
        self._back.clicked.connect(lambda: self._walk(-1))
        self._forth = IconButton("chevron-right", "Next row (Alt+Right)")
        self._forth.clicked.connect(lambda: self._walk(1))
        self._number = build_counter("Row in this list", 96)
        self._number.valueChanged.connect(lambda value: self._ask(value - 1))
        self._count = PlainLabel("", "muted", wraps=False)
        self._finding = QComboBox()
        self._finding.setAccessibleName("Which rows")
        self._finding.setMinimumWidth(150)
        self._finding.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self._finding.addItem("All rows", "")
        self._finding.activated.connect(lambda _: self._ask(0))
        self._by = QComboBox()
        self._by.setAccessibleName("Order of the rows")
        for key, words in ORDERS.items():
            self._by.addItem(words, key)
        self._by.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._by.setMinimumContentsLength(16)  # the longest order alone would widen the page
        self._by.activated.connect(lambda _: self._ask(0))
        line = QHBoxLayout()
        line.setSpacing(SIZES.s)
        for widget in (self._back, self._number, self._count, self._forth):
            line.addWidget(widget)
        line.addSpacing(SIZES.m)
        line.addWidget(self._finding)
        line.addWidget(self._by)
        line.addStretch(1)
        line.addWidget(self._leave_out)
        return line

    def _build_about(self) -> QHBoxLayout:
        signs = QCheckBox("Blanks")
        signs.setToolTip("Show blanks as ␣ and line ends as ↵")
        signs.setChecked(True)
        signs.toggled.connect(self._text.show_signs)
        written = QCheckBox("As written")
        written.setToolTip("Show the row as it stands in the file beside it")
        written.toggled.connect(self._written.setVisible)
        line = QHBoxLayout()
        line.setSpacing(SIZES.s)
        line.addWidget(self._about, 1)
        for sign, words in LEGEND:
            line.addWidget(SignSample(sign, words))  # type: ignore[arg-type]  # one of the four
        line.addSpacing(SIZES.s)
        line.addWidget(signs)
        line.addWidget(written)
        return line

    def _describe(self, row: RowShown) -> str:
        if not row.problems:
            return _HINT
        names = ", ".join(get_finding_name(code) for code in row.problems)
        return f"Found in this row: {names}. {row.detail}".strip()

    def _show_leave_out(self) -> None:
        row = self._row
        self._leave_out.setEnabled(row is not None and bool(row.mark))
        is_out = row is not None and row.mark in self._excluded
        words = "Take this row back" if is_out else "Leave out this row"
        self._leave_out.set_text_and_icon(words, "plus" if is_out else "close")

    def _ask(self, rank: int) -> None:
        self.row_wanted.emit(
            max(0, rank), str(self._finding.currentData() or ""), str(self._by.currentData())
        )

    def _walk(self, step: int) -> None:
        if self._row is not None and 0 <= self._row.rank + step < self._row.count:
            self._ask(self._row.rank + step)

    def _on_leave_out_clicked(self) -> None:
        if self._row is not None and self._row.mark:
            self.leave_out_toggled.emit(self._row.mark, self._row.mark not in self._excluded)

    def _on_token_pointed(self, place: int) -> None:
        row = self._row
        if row is not None and row.count:
            self._token.setText(explain_token(row, place) if place >= 0 else self._describe(row))
