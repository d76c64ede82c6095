"""A panel beside the answers that shows one of several things, or is closed."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import IconButton
from studio.gui.widgets.labels import PlainLabel

_WIDTH = 292


class Drawer(QFrame):
    """Shows the panel of a key under its title; Escape closes it.

    Signals:
        opened: The key of the panel that is shown now, empty when the drawer closed.
    """

    opened = Signal(str)

    def __init__(
        self, panels: Mapping[str, tuple[str, QWidget]], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setProperty("kind", "card")
        self.setFixedWidth(_WIDTH)
        self._panels = dict(panels)
        self._key = ""
        self._title = PlainLabel("", "heading", wraps=False)
        close = IconButton("close", "Close the panel")
        close.clicked.connect(lambda: self.show_panel(""))
        self._stack = QStackedWidget()
        for _, panel in self._panels.values():
            self._stack.addWidget(panel)
        top = QHBoxLayout()
        top.addWidget(self._title, 1)
        top.addWidget(close)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.l, SIZES.s, SIZES.s, SIZES.s)
        box.setSpacing(SIZES.s)
        box.addLayout(top)
        box.addWidget(self._stack, 1)
        self.hide()

    @property
    def key(self) -> str:
        """The key of the panel that is shown, empty while the drawer is closed."""
        return self._key

    def toggle(self, key: str) -> None:
        """Shows a panel, or closes the drawer if it is the one that is shown."""
        self.show_panel("" if self._key == key else key)

    def show_panel(self, key: str) -> None:
        """Shows the panel of a key; an empty key closes the drawer."""
        self._key = key
        if key:
            title, panel = self._panels[key]
            self._title.setText(title)
            self.setAccessibleName(title)
            self._stack.setCurrentWidget(panel)
        self.setVisible(bool(key))
        self.opened.emit(key)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 - Qt's name
        """Closes with Escape."""
        if event.key() == Qt.Key.Key_Escape and event.type() == QEvent.Type.KeyPress:
            self.show_panel("")
        else:
            super().keyPressEvent(event)
