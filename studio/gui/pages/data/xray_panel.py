"""Any row of the data token by token: which one, in which order, with what wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

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

from studio.core.events.survey import FileSide
from studio.core.events.types import DataSurveyed, RowShown
from studio.core.jobs.orders import RowList, RowSide
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
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, plain_tooltip
from studio.gui.widgets.segmented import Segmented

ORDERS = {
    "file": "As in the files",
    "most_cut": "Most cut first",
    "least_learnt": "Least learnt first",
    "longest": "Longest first",
    "most_tokens": "Most tokens per character first",
}
_SIDES = (("train", "Training", ""), ("validation", "Validation", ""))
_SIDES_HELP = "Rows to learn from, or rows that are only measured on."
_NO_VALIDATION = (
    "No rows are held back for validation. Change that above, beside the name of the file."
)
_CORRECT_HELP = (
    "Opens the row so that you can change what it says. The corrected row goes into a copy; your "
    "file stays as it is."
)
_FINDING_WIDTH = 210
_HINT = "Point at a token, or walk through the text with the arrow keys, to see what becomes of it."


class XrayPanel(QWidget):
    """Shows one row and lets the user walk through all of them; passive.

    Signals:
        row_wanted: Place in the list, finding (empty: all), order, and side (train, validation or
            any).
        correction_wanted: The row that is shown is to be corrected.
        leave_out_toggled: The mark of a row, and whether it is to be left out.
    """

    row_wanted = Signal(int, str, str, str)
    correction_wanted = Signal()
    leave_out_toggled = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._row: RowShown | None = None
        self._excluded: frozenset[str] = frozenset()
        self._side: FileSide = "train"
        self._findings: dict[FileSide, Mapping[str, int]] = {}
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
        self._leave_out = Button("Leave out", "close", "quiet")
        self._leave_out.clicked.connect(self._on_leave_out_clicked)
        self._correct = Button("Correct…", "pencil", "quiet")
        self._correct.setAccessibleName("Correct this row")
        self._correct.setToolTip(plain_tooltip(_CORRECT_HELP))
        self._correct.clicked.connect(self.correction_wanted)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, SIZES.m, 0, 0)
        box.setSpacing(SIZES.s)
        box.addWidget(self._build_walk())
        box.addLayout(self._build_about())
        both = QSplitter(Qt.Orientation.Horizontal)
        both.setChildrenCollapsible(False)
        both.addWidget(self._text)
        both.addWidget(self._written)
        both.setStretchFactor(0, 3)
        both.setStretchFactor(1, 2)
        box.addWidget(both, 1)
        below = QHBoxLayout()
        below.setSpacing(SIZES.xs)
        below.addWidget(self._token, 1)
        for action in (self._correct, self._leave_out):
            below.addWidget(action, 0, Qt.AlignmentFlag.AlignTop)
        box.addLayout(below)
        for keys, step in (("Alt+Right", 1), ("Alt+Left", -1)):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda step=step: self._walk(step))

    @property
    def row(self) -> RowShown | None:
        """The row that is shown."""
        return self._row

    @property
    def listing(self) -> tuple[str, RowList, RowSide]:
        """Finding, order and side of the list that is walked through."""
        finding, by = str(self._finding.currentData() or ""), str(self._by.currentData())
        return finding, cast(RowList, by), self._side

    def show_surveyed(self, surveyed: DataSurveyed) -> None:
        """Offers sides and findings to look at, with their number of rows; what is chosen stays."""
        self._findings = {
            "train": surveyed.findings,
            "validation": surveyed.validation_findings,
        }
        has_others = surveyed.validation_rows > 0 or bool(surveyed.validation_findings)
        self._sides.setEnabled(has_others)
        self._sides.setToolTip(_SIDES_HELP if has_others else _NO_VALIDATION)
        if not has_others:
            self._side = "train"
        self._show_side()

    def _show_side(self) -> None:
        self._sides.show_value(self._side)
        findings = self._findings.get(self._side, {})
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
        if row.side != self._side:
            self._side = row.side
            finding = self._finding.currentData() or ""
            self._show_side()
            self._choose_finding(str(finding))
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
        self._choose_finding(finding)
        with QSignalBlocker(self._by):
            self._by.setCurrentIndex(0)
        self._ask(rank, side="any")

    def ask_again(self) -> None:
        """Asks for the row at the same place, because something about it may have changed."""
        self._ask(0 if self._row is None else self._row.rank)

    def _choose_finding(self, finding: str) -> None:
        """Chooses a finding even where rows of this side have none of it."""
        with QSignalBlocker(self._finding):
            if self._finding.findData(finding) < 0:
                self._finding.addItem(get_finding_name(finding), finding)
            self._finding.setCurrentIndex(self._finding.findData(finding))

    def _build_walk(self) -> QWidget:
        self._back = IconButton("chevron-left", "Previous row (Alt+Left)")
        self._back.clicked.connect(lambda: self._walk(-1))
        self._forth = IconButton("chevron-right", "Next row (Alt+Right)")
        self._forth.clicked.connect(lambda: self._walk(1))
        self._number = build_counter("Row in this list", 96)
        self._number.valueChanged.connect(lambda value: self._ask(value - 1))
        self._count = PlainLabel("", "muted", wraps=False)
        self._finding = QComboBox()
        self._finding.setAccessibleName("Rows with a finding")
        self._finding.setMinimumWidth(120)
        self._finding.setMaximumWidth(_FINDING_WIDTH)
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
        self._by.setMinimumContentsLength(13)  # the longest order alone would widen the page
        self._by.activated.connect(lambda _: self._ask(0))
        self._sides = Segmented("Which rows", _SIDES)
        self._sides.show_value(self._side)
        self._sides.chosen.connect(self._on_side_chosen)
        walk = QWidget()
        steps = QHBoxLayout(walk)
        steps.setContentsMargins(0, 0, 0, 0)
        steps.setSpacing(SIZES.s)
        for widget in (self._back, self._number, self._count, self._forth):
            steps.addWidget(widget)
        area = QWidget()
        flow = FlowRow(area, SIZES.xs)
        for one in (self._sides, walk, self._finding, self._by):
            flow.addWidget(one)
        return area

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
        # What is left out by hand is left out of the training files alone.
        is_possible = row is not None and bool(row.mark) and row.files == "train"
        self._leave_out.setEnabled(is_possible)
        self._correct.setEnabled(row is not None and row.count > 0)
        is_out = row is not None and row.mark in self._excluded
        words = "Take back" if is_out else "Leave out"
        self._leave_out.set_text_and_icon(words, "plus" if is_out else "close")
        self._leave_out.setAccessibleName(f"{words} this row")

    def _ask(self, rank: int, side: RowSide | None = None) -> None:
        finding, by, now = self.listing
        self.row_wanted.emit(max(0, rank), finding, by, side or now)

    def _on_side_chosen(self, side: FileSide) -> None:
        self._side = side
        self._show_side()
        self._ask(0)

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
