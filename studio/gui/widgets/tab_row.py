"""Pages that belong together as tabs above their bodies."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QSizePolicy, QTabBar, QWidget


class TabRow(QTabBar):
    """One tab per page; arrow keys walk between them. Hidden until there are tabs.

    Signals:
        chosen: The user wants the page with this key.
    """

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._keys: tuple[str, ...] = ()
        self._current = ""
        self.setDrawBase(False)
        self.setExpanding(False)
        self.setUsesScrollButtons(False)
        self.setElideMode(Qt.TextElideMode.ElideRight)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Ways to compare")
        self.currentChanged.connect(self._on_current_changed)
        self.hide()

    def show_tabs(self, tabs: Sequence[tuple[str, str]], current: str) -> None:
        """Shows tabs, each the key of a page and its words, and marks the current one."""
        self._keys, self._current = (), current
        while self.count():
            self.removeTab(0)
        for _, words in tabs:
            self.addTab(words)
        self._keys = tuple(key for key, _ in tabs)
        self._mark()
        self.setVisible(len(tabs) > 1)

    def _on_current_changed(self, index: int) -> None:
        if 0 <= index < len(self._keys) and self._keys[index] != self._current:
            self.chosen.emit(self._keys[index])
            self._mark()  # the other page has a row of its own; this one stays where it is

    def _mark(self) -> None:
        self.setCurrentIndex(self._keys.index(self._current))
