"""The main window: the rail on the left, the open page on the right, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QByteArray, QEvent, QSettings, QSize, Qt
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QHBoxLayout, QMainWindow, QStackedWidget, QWidget

from studio.gui.context import Context
from studio.gui.drop_desk import DropDesk
from studio.gui.routes import Route
from studio.gui.widgets.drop_area import FilePasser
from studio.gui.widgets.page import Page
from studio.gui.widgets.rail import Rail

MINIMUM_SIZE = QSize(1000, 680)
DEFAULT_SIZE = QSize(1280, 800)


class Window(QMainWindow):
    """Shows one page at a time and builds each page when it is first wanted.

    ``may_close`` is asked before the window closes; it returns False to keep it open.
    """

    def __init__(
        self,
        context: Context,
        routes: Sequence[Route],
        geometry: QSettings,
        may_close: Callable[[QWidget], bool] = lambda _window: True,
    ) -> None:
        super().__init__()
        self._context = context
        self._routes = {route.entry.key: route for route in routes}
        self._geometry = geometry
        self._may_close = may_close
        self._pages: dict[str, Page] = {}
        self._current = ""
        self.setWindowTitle("LoRA Studio")
        on_rail = [route.entry for route in routes if not route.under]
        self._rail = Rail(on_rail)
        self._rail.page_requested.connect(self.show_page)
        self._stack = QStackedWidget()
        center = self._build_center()
        self.setCentralWidget(center)
        self._drops = DropDesk(self, center, context)
        for number, entry in enumerate(on_rail, 1):
            shortcut = QShortcut(QKeySequence(f"Ctrl+{number}"), self)
            shortcut.activated.connect(lambda key=entry.key: self.show_page(key))
        app = QApplication.instance()
        if isinstance(app, QApplication):
            app.focusChanged.connect(self._on_app_focus_changed)
        context.draft.changed.connect(self._on_draft_changed)
        context.journey.marked.connect(self._rail.show_progress)
        self._on_draft_changed()
        self._restore_geometry()

    @property
    def page_key(self) -> str:
        """The key of the page that is open."""
        return self._current

    def show_page(self, key: str) -> None:
        """Opens the page with this key, building it if it was never open."""
        page, before = self.get_page(key), self._stack.currentWidget()
        self._current = key
        focus = self.focusWidget()
        self._stack.setCurrentWidget(page)
        if before not in (None, page) and focus is not None and before.isAncestorOf(focus):
            page.setFocus(Qt.FocusReason.OtherFocusReason)  # Qt would give it to any other widget
        self._rail.show_current(self._routes[key].rail_key)
        self.setWindowTitle(f"{page.title} - LoRA Studio")
        page.refresh()

    def show_run(self, key: str, folder: str) -> None:
        """Opens the page with this key on the run in a folder."""
        page = self.get_page(key)
        page.show_run(folder)
        self.show_page(key)

    def show_part(self, key: str, folder: str, part: str) -> None:
        """Opens a part of the page with this key, on the run in a folder where one is given."""
        if folder:
            self.show_run(key, folder)
        else:
            self.show_page(key)
        self.get_page(key).show_part(part)

    def get_page(self, key: str) -> Page:
        """Return the page with this key, building it if it was never open.

        Raises:
            KeyError: There is no such page.
        """
        if key not in self._pages:
            page = self._routes[key].build(self._context)
            page.show_tabs(self._find_tabs(self._routes[key]), key)
            FilePasser(page)
            page.page_requested.connect(self.show_page)
            page.run_requested.connect(self.show_run)
            page.part_requested.connect(self.show_part)
            self._stack.addWidget(page)
            self._pages[key] = page
        return self._pages[key]

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Looks, when the window is used again, for what another one has saved meanwhile."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange and self.isActiveWindow():
            self._context.draft.refresh()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """Asks whether the window may close, lets the pages finish, remembers its place."""
        if not self._may_close(self):
            event.ignore()
            return
        for page in self._pages.values():
            page.finish()
        self._geometry.setValue("window/geometry", self.saveGeometry())
        event.accept()

    def _build_center(self) -> QWidget:
        center = QWidget()
        row = QHBoxLayout(center)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self._rail)
        row.addWidget(self._stack, 1)
        return center

    def _find_tabs(self, route: Route) -> list[tuple[str, str]]:
        """Returns the pages that share the route's line of the rail, each a key and words."""
        family = [other for other in self._routes.values() if other.rail_key == route.rail_key]
        return [(one.entry.key, one.tab or one.entry.title) for one in family]

    def _restore_geometry(self) -> None:
        available = self.screen().availableGeometry().size()
        self.setMinimumSize(MINIMUM_SIZE.boundedTo(available))
        kept = self._geometry.value("window/geometry")
        if not (isinstance(kept, QByteArray) and self.restoreGeometry(kept)):
            self.resize(DEFAULT_SIZE.boundedTo(available))

    def _on_app_focus_changed(self, before: QWidget | None, now: QWidget | None) -> None:
        """Keeps the keyboard on the page when what had it there is hidden or switched off.

        Qt gives it to what comes next, which behind the last button is the first line of the rail.
        """
        page = self._stack.currentWidget()
        if before is None or now is None or page is None or not self._rail.isAncestorOf(now):
            return
        if page.isAncestorOf(before) and not (before.isVisible() and before.isEnabled()):
            page.setFocus(Qt.FocusReason.OtherFocusReason)

    def _on_draft_changed(self) -> None:
        draft = self._context.draft
        has_model = bool(draft.get_value("base.model"))
        has_data = bool(draft.get_value("data.train"))
        journey = self._context.journey
        journey.mark("model", is_done=has_model)
        journey.mark("data", is_done=has_data)
        journey.mark("recipe", is_done=draft.recipe is not None)
