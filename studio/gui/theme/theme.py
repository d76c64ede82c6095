"""The theme in use: applies palette and style sheet and follows the system when asked to."""

from __future__ import annotations

from typing import Literal, cast, get_args

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QPixmapCache
from PySide6.QtWidgets import QApplication, QStyleFactory

from studio.gui.theme.fonts import build_text_font
from studio.gui.theme.icons import build_app_icon, find_icon_file
from studio.gui.theme.palette import build_palette
from studio.gui.theme.stylesheet import build_stylesheet
from studio.gui.theme.tokens import DARK, LIGHT, Colours

ThemeChoice = Literal["system", "light", "dark"]


class Theme(QObject):
    """Dresses the application; widgets hear of a change through their own ``changeEvent``.

    Signals:
        changed: Another theme is shown now; carries its ``Colours``.
    """

    changed = Signal(object)

    def __init__(self, app: QApplication, choice: ThemeChoice = "system") -> None:
        super().__init__(app)
        self._app = app
        self._choice: ThemeChoice = choice
        self._colours = LIGHT
        style = QStyleFactory.create("Fusion")
        if style is not None:
            app.setStyle(style)
        app.setFont(build_text_font())
        app.setWindowIcon(build_app_icon())
        app.styleHints().colorSchemeChanged.connect(self._on_system_changed)
        self._apply()

    @property
    def choice(self) -> ThemeChoice:
        """What the user chose: follow the system, or always light or dark."""
        return self._choice

    @property
    def colours(self) -> Colours:
        """The colours shown now."""
        return self._colours

    def choose(self, choice: str) -> None:
        """Show another theme from now on; unknown words mean the system's."""
        known = choice if choice in get_args(ThemeChoice) else "system"
        self._choice = cast("ThemeChoice", known)
        self._apply()

    def _on_system_changed(self) -> None:
        if self._choice == "system":
            self._apply()

    def _apply(self) -> None:
        if self._choice == "system":
            is_dark = self._app.styleHints().colorScheme() == Qt.ColorScheme.Dark
        else:
            is_dark = self._choice == "dark"
        self._colours = DARK if is_dark else LIGHT
        QPixmapCache.clear()
        arrows = {way: find_icon_file(f"tick-{way}").as_posix() for way in ("up", "down", "right")}
        check = "tick-check-dark" if is_dark else "tick-check-light"
        arrows["check"] = find_icon_file(check).as_posix()
        self._app.setPalette(build_palette(self._colours))
        self._app.setStyleSheet(build_stylesheet(self._colours, arrows))
        self.changed.emit(self._colours)
