"""What every page is: a title, a place for its buttons, and a body that scrolls when it must."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.scroll import build_scroll_area
from studio.gui.widgets.tab_row import TabRow


class Page(QWidget):
    """The frame of one page; subclasses fill ``body`` and ``header_actions``.

    Signals:
        page_requested: The user wants the page with this key (see ``studio.gui.routes``).
        run_requested: The user wants the page with this key to show the run in this folder.
        part_requested: The user wants a part of that page; the folder is empty where no run is
            meant.
    """

    page_requested = Signal(str)
    run_requested = Signal(str, str)
    part_requested = Signal(str, str, str)

    def __init__(
        self,
        title: str,
        subtitle: str = "",
        parent: QWidget | None = None,
        *,
        scrolls: bool = True,
        max_width: int = 1080,
    ) -> None:
        super().__init__(parent)
        self.title = title
        self.setAccessibleName(title)
        self._area: QScrollArea | None = None
        self.header_actions = QHBoxLayout()
        self.header_actions.setSpacing(SIZES.s)
        self.body = QVBoxLayout()
        self.body.setContentsMargins(SIZES.xl, SIZES.xs, SIZES.xl, SIZES.xl)
        self.body.setSpacing(SIZES.l)
        self._tab_row = TabRow()
        self._tab_row.chosen.connect(self.page_requested)
        self._subtitle = PlainLabel(subtitle, "muted")
        if not subtitle:
            self._subtitle.hide()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self._build_header(title))
        outer.addLayout(self._build_tab_row())
        outer.addWidget(self._build_body(scrolls, max_width), 1)

    def show_tabs(self, tabs: Sequence[tuple[str, str]], current: str) -> None:
        """Shows the pages that belong together, each a key and words, as tabs."""
        self._tab_row.show_tabs(tabs, current)

    def show_subtitle(self, text: str) -> None:
        """Shows another sentence below the title."""
        self._subtitle.setText(text)
        self._subtitle.setVisible(bool(text))

    def show_run(self, folder: str) -> None:
        """Shows a run; pages that are not about runs ignore it."""
        del folder

    def take_paths(self, paths: Sequence[str]) -> None:
        """Uses files or folders that were dropped; pages that need none ignore them."""
        del paths

    def show_part(self, part: str) -> None:
        """Shows a part of the page by its name; pages without such parts ignore it."""
        del part

    def refresh(self) -> None:
        """Brings the page up to date; called each time it is shown."""

    def finish(self) -> None:
        """Writes what must not be lost; called once, when the window closes."""

    def show_top(self) -> None:
        """Scrolls back to the beginning of the page."""
        if self._area is not None:
            self._area.verticalScrollBar().setValue(0)

    def show_widget(self, widget: QWidget) -> None:
        """Scrolls to a part of the page."""
        if self._area is not None:
            self._area.ensureWidgetVisible(widget)

    def _build_header(self, title: str) -> QWidget:
        header = QWidget()
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(PlainLabel(title, "title", wraps=False))
        texts.addWidget(self._subtitle)
        row = QHBoxLayout(header)
        row.setContentsMargins(SIZES.xl, SIZES.l + 2, SIZES.xl, SIZES.m)
        row.setSpacing(SIZES.l)
        row.addLayout(texts, 1)
        row.addLayout(self.header_actions)
        return header

    def _build_tab_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(SIZES.xl - SIZES.s, 0, SIZES.xl, 0)
        row.addWidget(self._tab_row)
        row.addStretch(1)
        return row

    def _build_body(self, scrolls: bool, max_width: int) -> QWidget:
        if scrolls:
            self._area = build_scroll_area(self.body, max_width)
            return self._area
        content = QWidget()
        content.setLayout(self.body)
        return content
