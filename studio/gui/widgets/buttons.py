"""Buttons whose icons follow the theme."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QPushButton, QSizePolicy, QToolButton, QWidget

from studio.gui.theme.icons import build_icon
from studio.gui.theme.tokens import SIZES, Colours, colours_of
from studio.gui.widgets.labels import plain_tooltip, repolish

ButtonKind = Literal["normal", "primary", "quiet", "danger"]
_RESTYLES = (QEvent.Type.PaletteChange, QEvent.Type.StyleChange)


class Button(QPushButton):
    """A push button of one of four kinds; one primary button per page."""

    def __init__(
        self,
        text: str,
        icon: str = "",
        kind: ButtonKind = "normal",
        parent: QWidget | None = None,
        *,
        icon_after: bool = False,
    ) -> None:
        super().__init__(text, parent)
        self._icon_name = icon
        self._shown: tuple[str, str, str] | None = None
        self._kind: ButtonKind = kind
        if icon_after:
            self.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.setProperty("kind", kind)
        self.setAccessibleName(text.replace("&", ""))
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setIconSize(QSize(SIZES.icon, SIZES.icon))
        self._refresh_icon()

    def set_kind(self, kind: ButtonKind) -> None:
        """Changes the weight of the button on the page."""
        self._kind = kind
        self.setProperty("kind", kind)
        repolish(self)
        self._refresh_icon()

    def set_text_and_icon(self, text: str, icon: str) -> None:
        """Shows another wording and icon, for example Pause and then Go on."""
        self.setText(text)
        self.setAccessibleName(text.replace("&", ""))
        self._icon_name = icon
        if not icon:
            self._shown = None
            self.setIcon(QIcon())
        self._refresh_icon()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Recolours the icon when the theme changes."""
        super().changeEvent(event)
        if event.type() in _RESTYLES:
            self._refresh_icon()

    def _refresh_icon(self) -> None:
        colours = colours_of(self)
        wanted = (self._icon_name, self._colour(colours), colours.faint)
        if self._icon_name and wanted != self._shown:
            self._shown = wanted
            self.setIcon(build_icon(*wanted))

    def _colour(self, colours: Colours) -> str:
        by_kind = {
            "primary": colours.on_accent,
            "quiet": colours.accent,
            "danger": colours.error,
            "normal": colours.text,
        }
        return by_kind[self._kind]


class IconButton(QToolButton):
    """A small square button with only an icon; its name is spoken and shown on hover."""

    def __init__(self, icon: str, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon_name = icon
        self._shown: tuple[str, str, str] | None = None
        self.set_name(name)
        self.setIconSize(QSize(SIZES.icon, SIZES.icon))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self._refresh_icon()

    def set_name(self, name: str) -> None:
        """Speaks and shows another name on hover."""
        self.setAccessibleName(name)
        self.setToolTip(plain_tooltip(name))

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        """Recolours the icon when the theme changes."""
        super().changeEvent(event)
        if event.type() in _RESTYLES:
            self._refresh_icon()

    def _refresh_icon(self) -> None:
        colours = colours_of(self)
        wanted = (self._icon_name, colours.muted, colours.border_strong)
        if wanted != self._shown:
            self._shown = wanted
            self.setIcon(build_icon(*wanted))
