"""Which rows of the run were learnt, forgotten or never learnt, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QMenu,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from studio.core.events.types import RowRead
from studio.core.microscope.stories import LISTS, RowList, RowStory
from studio.core.microscope.words import LIST_WORDS
from studio.gui.bridge.row_watch import MOST_SHOWN, RowLists
from studio.gui.pages.train.row_detail import RowDetail
from studio.gui.pages.train.rows_table import RowsTable
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.labels import PlainLabel, plain_tooltip
from studio.gui.widgets.segmented import Segmented

_AGAIN = "Train again from the base, without these rows"
_GO_ON = "Go on with this adapter, without these rows"
_NOTHING = (
    "Nothing is known about single rows",
    "While a run trains, the loss of each row is shown here from the first step on. Older runs, "
    "imported ones, and runs with “Watch every row” switched off kept none.",
)


class RowsPanel(QWidget):
    """Lists of rows, the row under the cursor, and buttons; passive.

    Signals:
        shown: Somebody looks.
        texts_wanted: The ``RowStory`` list whose text is in view.
        leave_out_requested: A ``RowStory`` list, and whether to go on with the run's adapter.
        open_requested: The ``RowStory`` to be opened on the Data page.
        save_requested: The list that is to be written as CSV.
    """

    shown = Signal()
    texts_wanted = Signal(list)
    leave_out_requested = Signal(list, bool)
    open_requested = Signal(object)
    save_requested = Signal(str)

    def __init__(
        self, find_text: Callable[[RowStory], RowRead | None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._find_text = find_text
        self._lists = RowLists()
        self._name: RowList = "worst"
        self._choice = Segmented("Rows", [(name, LIST_WORDS[name][0], "") for name in LISTS])
        self._choice.chosen.connect(self._on_choice_chosen)
        self._help = PlainLabel("", "muted")
        self._table = RowsTable(find_text)
        self._detail = RowDetail()
        self._none = EmptyState("success", "", "")
        self._empty = EmptyState("search", *_NOTHING)
        self._menu = QMenu(self)
        self._again = self._menu.addAction(_AGAIN, lambda: self._leave_out(False))
        self._go_on = self._menu.addAction(_GO_ON, lambda: self._leave_out(True))
        self._out = Button("Leave out and go on", "trash")
        self._open = Button("Show on the Data page", "data")
        self._save = Button("Save as CSV…", "download", "quiet")
        self._count = PlainLabel("", "caption", wraps=False)
        self._inner = QStackedWidget()
        self._stack = QStackedWidget()
        self._build()
        self._connect()
        self.show_lists(RowLists())

    @property
    def list_name(self) -> RowList:
        """The list that is shown."""
        return self._name

    def show_lists(self, lists: RowLists) -> None:
        """Shows the newest lists of a run; the chosen list and the selected rows stay."""
        is_same = lists is self._lists
        self._lists = lists
        self._stack.setCurrentIndex(1 if lists.report.stories else 0)
        for name in LISTS:
            count = lists.report.counts.get(name, 0)
            words = LIST_WORDS[name][0]
            self._choice.show_words(name, words if name == "worst" else f"{words} ({count:,})")
        if not is_same:
            self._show_list()

    def show_texts(self) -> None:
        """Shows texts that arrived in the meantime."""
        self._table.show_texts()
        self._show_row(self._shown)

    def show_adapter(self, has_adapter: bool) -> None:
        """Offers to go on with the run's adapter where there is one."""
        self._go_on.setEnabled(has_adapter)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802 - Qt's name
        """Tells that somebody looks."""
        super().showEvent(event)
        self.shown.emit()

    def _build(self) -> None:
        self._out.setToolTip(
            plain_tooltip(
                "The next run does not learn from the selected rows. Your file stays as it is."
            )
        )
        self._choice.show_value(self._name)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(self._table)
        splitter.addWidget(self._detail)
        splitter.setSizes([620, 340])
        self._inner.addWidget(splitter)
        self._inner.addWidget(self._none)
        buttons = QHBoxLayout()
        buttons.setSpacing(SIZES.s)
        for widget in (self._out, self._open, self._count):
            buttons.addWidget(widget)
        buttons.addStretch(1)
        buttons.addWidget(self._save)
        content = QWidget()
        box = QVBoxLayout(content)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        box.addWidget(self._choice)
        box.addWidget(self._help)
        box.addWidget(self._inner, 1)
        box.addLayout(buttons)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, SIZES.m, 0, 0)
        outer.addWidget(self._stack)

    def _connect(self) -> None:
        table = self._table
        self._shown: RowStory | None = None
        table.row_chosen.connect(self._show_row)
        table.selection_edited.connect(self._on_selection_edited)
        table.seen.connect(lambda: self.texts_wanted.emit(self._table.visible))
        table.leave_out_requested.connect(self._show_menu)
        table.open_requested.connect(self._on_open_clicked)
        self._out.clicked.connect(self._show_menu)
        self._open.clicked.connect(self._on_open_clicked)
        self._save.clicked.connect(lambda: self.save_requested.emit(self._name))

    def _show_list(self) -> None:
        report, stories = self._lists.report, self._lists.lists.get(self._name, ())
        title, help_text, empty = LIST_WORDS[self._name]
        more = report.counts.get(self._name, 0) - len(stories)
        rest = f" The first {MOST_SHOWN:,} are shown." if more > 0 else ""
        self._help.setText(help_text + rest)
        self._inner.setCurrentIndex(0 if stories else 1)
        if not stories:
            seen = max((len(one.losses) for one in report.stories[:1000]), default=0)
            wait = " Rows have to be seen twice before this can be told." if seen < 2 else ""
            self._none.show_reason("success" if not wait else "note", title, empty + wait)
        self._table.show_rows(report, stories)

    def _show_row(self, story: RowStory | None) -> None:
        self._shown = story
        place = ""
        if story is not None:
            origin = self._lists.report.find_origin(story)
            if origin is not None:
                place = f"{self._lists.report.name_source(origin)}, row {origin.number:,}"
        self._detail.show_row(story, place, None if story is None else self._find_text(story))

    def _show_menu(self) -> None:
        if self._table.selected:
            self._menu.popup(self._out.mapToGlobal(self._out.rect().bottomLeft()))

    def _leave_out(self, goes_on: bool) -> None:
        self.leave_out_requested.emit(self._table.selected, goes_on)

    def _on_choice_chosen(self, name: str) -> None:
        self._name = cast(RowList, name)
        self._table.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.DescendingOrder)
        self._table.clearSelection()
        self._show_list()

    def _on_selection_edited(self, count: int) -> None:
        self._out.setEnabled(count > 0)
        self._open.setEnabled(count == 1)
        self._count.setText(f"{count:,} selected" if count > 1 else "")

    def _on_open_clicked(self) -> None:
        if self._shown is not None:
            self.open_requested.emit(self._shown)
