"""Takes files and folders that are dropped anywhere on a widget."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QColor, QDragEnterEvent, QDropEvent, QPainter, QPaintEvent, QPen, Qt
from PySide6.QtWidgets import QWidget

from studio.gui.theme.tokens import SIZES, colours_of
from studio.gui.widgets.labels import PlainLabel


class DropCatcher(QObject):
    """Makes a widget accept local files; a frame with words shows while something hovers.

    Signals:
        paths_dropped: The local paths, as a list of texts.
    """

    paths_dropped = Signal(list)

    def __init__(self, target: QWidget, words: str) -> None:
        super().__init__(target)
        self._target = target
        self._veil = _Veil(words, target)
        self._veil.hide()
        target.setAcceptDrops(True)
        target.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Handles what is dragged over the target."""
        if watched is not self._target:
            return False
        if isinstance(event, QDropEvent) and event.type() == QEvent.Type.Drop:
            self._veil.hide()
            paths = get_paths(event)
            if paths:
                event.acceptProposedAction()
                self.paths_dropped.emit(paths)
            return True
        if isinstance(event, QDragEnterEvent) and event.type() == QEvent.Type.DragEnter:
            if not get_paths(event):
                return False
            event.acceptProposedAction()
            self._veil.setGeometry(self._target.rect())
            self._veil.raise_()
            self._veil.show()
            return True
        if event.type() == QEvent.Type.DragLeave:
            self._veil.hide()
        return False


class _Veil(QWidget):
    """A dashed frame over the target."""

    def __init__(self, words: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._label = PlainLabel(words, "heading", self)
        self._label.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def resizeEvent(self, event: QEvent) -> None:  # noqa: N802 - Qt's name
        del event
        self._label.setGeometry(self.rect())

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        del event
        colours = colours_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        fill = QColor(colours.accent_soft)
        fill.setAlpha(235)
        painter.setBrush(fill)
        painter.setPen(QPen(QColor(colours.accent), 2, Qt.PenStyle.DashLine))
        area = self.rect().adjusted(12, 12, -12, -12)
        painter.drawRoundedRect(area, SIZES.radius_card, SIZES.radius_card)


def get_paths(event: QDropEvent) -> list[str]:
    """Return the local paths that an event carries."""
    urls = event.mimeData().urls()
    return [str(Path(url.toLocalFile())) for url in urls if url.isLocalFile()]
