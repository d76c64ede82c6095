"""All prompts of this visit with the answers side by side, newest at the bottom."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from studio.gui.pages.compare.exchange_view import ExchangeView
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel

_KEPT = 40


class ExchangeList(QScrollArea):
    """Scrolls along with the newest answer unless the user scrolled up.

    All columns lie in one area, so they always scroll together.

    Signals:
        part_changed: Pixels from the left at which the visible part begins, and its width.
    """

    part_changed = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._views: dict[int, ExchangeView] = {}
        self._column_width = 0
        self._follows = True
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setAccessibleName("Answers")
        content = QWidget()
        content.setProperty("role", "scrolled")
        self._box = QVBoxLayout(content)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(SIZES.xl)
        self._box.addStretch(1)
        self.setWidget(content)
        self.setCornerWidget(QWidget())
        bar = self.verticalScrollBar()
        bar.rangeChanged.connect(self._on_range_changed)
        bar.valueChanged.connect(self._on_value_changed)
        self.horizontalScrollBar().valueChanged.connect(self._on_sideways)

    @property
    def count(self) -> int:
        """How many prompts are shown."""
        return len(self._views)

    @property
    def most_cards(self) -> int:
        """How many answers stand side by side where the most do, at least 1."""
        return max((len(view.shown_cards) for view in self._views.values()), default=1)

    @property
    def views(self) -> dict[int, ExchangeView]:
        """What is shown, by the number of the exchange."""
        return dict(self._views)

    def add(self, number: int, view: ExchangeView) -> None:
        """Adds a prompt at the bottom; very old ones are dropped."""
        self._views[number] = view
        self._show_part(view)
        self._box.insertWidget(self._box.count() - 1, view)
        self._follows = True
        if len(self._views) > _KEPT:
            self._drop(next(iter(self._views)))

    def add_line(self, words: str) -> None:
        """Adds a remark between two prompts, once."""
        last = self._box.itemAt(self._box.count() - 2)
        widget = None if last is None else last.widget()
        if isinstance(widget, ExchangeView):
            self._box.insertWidget(self._box.count() - 1, PlainLabel(words, "caption"))
            self._follows = True

    def find_view(self, number: int) -> ExchangeView | None:
        """Returns the view of an exchange, None when it is not shown any more."""
        return self._views.get(number)

    def show_column_width(self, width: int) -> None:
        """Makes every column this wide."""
        self._column_width = width
        for view in self._views.values():
            self._show_part(view)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Tells how much is seen now."""
        super().resizeEvent(event)
        self._on_sideways(self.horizontalScrollBar().value())

    def _drop(self, number: int) -> None:
        view = self._views.pop(number)
        view.hide()
        view.deleteLater()

    def _show_part(self, view: ExchangeView) -> None:
        offset = self.horizontalScrollBar().value()
        view.show_width(self._column_width, self.viewport().width(), offset)

    def _on_sideways(self, offset: int) -> None:
        for view in self._views.values():
            self._show_part(view)
        self.part_changed.emit(offset, self.viewport().width())

    def _on_range_changed(self, _low: int, high: int) -> None:
        if self._follows:
            self.verticalScrollBar().setValue(high)

    def _on_value_changed(self, value: int) -> None:
        self._follows = value >= self.verticalScrollBar().maximum() - SIZES.xl
