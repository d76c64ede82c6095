"""A person at the window: finds things by their spoken names, clicks, types, waits, looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEventLoop, QPoint, Qt, QTimer
from PySide6.QtGui import QCursor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QAbstractItemView, QApplication, QTabBar, QWidget

from studio.core.paths import Home
from studio.gui.app import Studio, build_studio


class NotSeen(AssertionError):
    """Something that should be on the screen is not there in time."""


class Visitor:
    """Drives a real window with a mouse and a keyboard and keeps pictures of what was seen."""

    def __init__(self, app: QApplication, home: Path, pictures: Path, theme: str) -> None:
        self.studio: Studio = build_studio(app, Home(home))
        self.window = self.studio.window
        self._app = app
        self._pictures = pictures
        pictures.mkdir(parents=True, exist_ok=True)
        self.studio.context.theme.choose(theme)
        self.window.show_page("home")
        self.window.show()
        # A virtual screen has no window manager that would make the window the active one.
        QApplication.setActiveWindow(self.window)
        self.studio.context.feed.attach_all()
        self.rest(0.6)

    def rest(self, seconds: float) -> None:
        """Let the window work; a real event loop, so that worker threads get their turn."""
        loop = QEventLoop()
        QTimer.singleShot(int(seconds * 1000), loop.quit)
        loop.exec()

    def wait(self, is_there: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Let the window work until ``is_there`` is true.

        Raises:
            NotSeen: It did not become true in time; a picture shows what was there instead.
        """
        deadline = time.monotonic() + seconds
        while not is_there():
            if time.monotonic() > deadline:
                self.look(f"missing-{what.replace(' ', '-')}")
                raise NotSeen(f"{what} did not appear within {seconds:.0f} s")
            self.rest(0.05)

    def find(self, name: str, kind: type[QWidget] = QWidget) -> QWidget | None:
        """Return the visible widget of the open page whose spoken name begins with ``name``."""
        page = self.window.get_page(self.window.page_key)
        for widget in page.findChildren(kind):
            if widget.isVisible() and widget.accessibleName().startswith(name):
                return widget
        return None

    def see(
        self,
        name: str,
        seconds: float = 30,
        kind: type[QWidget] = QWidget,
        *,
        is_enabled: bool = False,
    ) -> QWidget:
        """Wait until a widget of that name is visible and return it."""
        found: list[QWidget] = []

        def is_there() -> bool:
            widget = self.find(name, kind)
            if widget is None or (is_enabled and not widget.isEnabled()):
                return False
            found[:] = [widget]
            return True

        self.wait(is_there, name, seconds)
        return found[0]

    def click(self, name: str, seconds: float = 30) -> None:
        """Click on the middle of the enabled button with that spoken name."""
        widget = self.see(name, seconds, QAbstractButton, is_enabled=True)
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton)
        self.rest(0.2)

    def click_row(self, list_name: str, text: str) -> None:
        """Click on the row of a list whose text contains ``text``."""
        view = self.see(list_name)
        assert isinstance(view, QAbstractItemView)
        model = view.model()

        def find_row() -> int | None:
            for row in range(model.rowCount()):
                if text in str(model.index(row, 0).data()):
                    return row
            return None

        self.wait(lambda: find_row() is not None, f"{text} in {list_name}")
        place = view.visualRect(model.index(find_row() or 0, 0)).center()
        QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place))
        self.rest(0.2)

    def click_tab(self, text: str) -> None:
        """Click on the tab with that text on the open page."""
        page = self.window.get_page(self.window.page_key)
        for bar in page.findChildren(QTabBar):
            for index in range(bar.count()):
                if bar.tabText(index) == text:
                    place = bar.tabRect(index).center()
                    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=place)
                    self.rest(0.2)
                    return
        raise NotSeen(f"there is no tab {text!r}")

    def press(self, key: str) -> None:
        """Press a key combination such as ``Ctrl+3`` in the window."""
        QTest.keySequence(self.window, key)
        self.rest(0.3)

    def type_into(self, name: str, text: str) -> None:
        """Type text into the editor of that name and press Enter."""
        widget = self.see(name, is_enabled=True)
        widget.setFocus()
        QTest.keyClicks(widget, text)
        QTest.keyClick(widget, Qt.Key.Key_Return)
        self.rest(0.2)

    def look(self, picture: str) -> Path:
        """Keep a picture of the whole window."""
        QCursor.setPos(self.window.mapToGlobal(QPoint(2, 2)))  # nothing lies below the pointer
        self.rest(0.3)
        path = self._pictures / f"{picture}.png"
        self.window.grab().save(str(path))
        return path

    def leave(self) -> None:
        """Close the window and everything behind it."""
        self.window.close()
        self.studio.close()
        self._app.processEvents()
