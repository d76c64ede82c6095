"""The looks at the data: as written, its columns, what is learnt, any row, lengths, findings."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.units import format_things
from studio.gui.bridge.raw_rows import RawRows
from studio.gui.pages.data.checks_panel import ChecksPanel
from studio.gui.pages.data.columns_panel import ColumnsPanel
from studio.gui.pages.data.learning_panel import LearningPanel
from studio.gui.pages.data.lengths_panel import LengthsPanel
from studio.gui.pages.data.xray_panel import XrayPanel
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.raw_table import RawTable

RAW, COLUMNS, LEARNING, XRAY, LENGTHS, CHECKS = range(6)
TITLES = ("Rows as written", "Columns", "Learning", "X-ray", "Lengths", "Checks")


class DataTabs(QTabWidget):
    """The panels; those that need a model show what is missing until there is one.

    Signals:
        way_out_requested: The button of what is missing was pressed.
    """

    way_out_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setDocumentMode(True)
        self.tabBar().setDrawBase(False)
        self.tabBar().setUsesScrollButtons(False)
        self.setAccessibleName("Views of the data")
        self.tabBar().setAccessibleName("Views of the data")
        self._raw_notice = Notice()
        self._table = RawTable()
        self.columns, self.learning = ColumnsPanel(), LearningPanel()
        self.xray, self.lengths, self.checks = XrayPanel(), LengthsPanel(), ChecksPanel()
        self._state = PlainLabel("", "caption", wraps=False)
        self._state.setAccessibleName("State of the survey")
        self._state.setContentsMargins(SIZES.s, 0, 0, SIZES.s)
        self.setCornerWidget(self._state, Qt.Corner.TopRightCorner)
        self._gates: list[_Gate] = []
        self.addTab(self._build_raw_tab(), TITLES[RAW])
        panels = (self.columns, self.learning, self.xray, self.lengths, self.checks)
        for title, panel in zip(TITLES[1:], panels, strict=True):
            gate = _Gate(panel)
            gate.empty.action_requested.connect(self.way_out_requested)
            self._gates.append(gate)
            self.addTab(gate, title)

    def _build_raw_tab(self) -> QWidget:
        tab = _build_tab(self._raw_notice, self._table)
        # Takes the space of the table where there is none, so that the notice stays small.
        self._filler = QWidget()
        self._filler.hide()
        box = tab.layout()
        if isinstance(box, QVBoxLayout):
            box.addWidget(self._filler, 1)
        return tab

    def show_rows(self, raw: RawRows) -> None:
        """Shows the first rows of a file."""
        self._raw_notice.clear()
        if raw.broken:
            read = len(raw.rows) + len(raw.broken)
            told = f"Of the first {format_things(read, 'row')} {len(raw.broken):,}"
            remedy = "Under Checks you can choose to leave such rows out."
            self._raw_notice.show_message(
                "warning", f"{told} cannot be read. {raw.broken[0]}", remedy
            )
        self._filler.hide()
        self._table.show()
        self._table.show_rows(raw)

    def show_raw_waiting(self, name: str) -> None:
        """Shows that the first rows of a file are being read."""
        self._table.hide()
        self._filler.show()
        self._raw_notice.show_message("note", f"Reading the first rows of {name} …")

    def show_raw_error(self, error: StudioError) -> None:
        """Shows why a file cannot be read."""
        self._table.hide()
        self._filler.show()
        self._raw_notice.show_error(error)

    def show_reason(
        self, icon: str, title: str, sentence: str, action: str = "", *numbers: int
    ) -> None:
        """Shows why some panels, or all, have nothing to show yet, and the way out."""
        for gate in [self._gates[one - 1] for one in numbers] or self._gates:
            gate.empty.show_reason(icon, title, sentence, action)
            gate.setCurrentIndex(0)

    def show_panels(self, *numbers: int) -> None:
        """Shows some panels themselves."""
        for number in numbers:
            self._gates[number - 1].setCurrentIndex(1)

    def show_state(self, words: str, more: str = "") -> None:
        """Shows in a few words what is known of the data, and ``more`` on hover."""
        self._state.setText(words)
        self._state.setToolTip(more)

    def show_finding_count(self, count: int) -> None:
        """Shows how many findings want a look."""
        self.setTabText(CHECKS, f"{TITLES[CHECKS]} ({count})" if count else TITLES[CHECKS])

    def show_notice(self, error: StudioError | None) -> None:
        """Shows above every panel what went wrong, or nothing."""
        for gate in self._gates:
            if error is None:
                gate.notice.clear()
            else:
                gate.notice.show_error(error)


class _Gate(QStackedWidget):
    """A panel, or the reason why it cannot be shown."""

    def __init__(self, panel: QWidget) -> None:
        super().__init__()
        self.empty = EmptyState("eye", "", "", "")
        self.notice = Notice()
        self.addWidget(self.empty)
        self.addWidget(_build_tab(self.notice, panel, top=0))


def _build_tab(*widgets: QWidget, top: int = SIZES.m) -> QWidget:
    tab = QWidget()
    box = QVBoxLayout(tab)
    box.setContentsMargins(0, top, 0, 0)
    box.setSpacing(SIZES.s)
    for widget in widgets[:-1]:
        box.addWidget(widget)
    box.addWidget(widgets[-1], 1)
    return tab
