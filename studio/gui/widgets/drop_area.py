"""Takes files and folders that are dropped anywhere on a widget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QColor, QDragEnterEvent, QDropEvent, QPainter, QPaintEvent, QPen, Qt
from PySide6.QtWidgets import (
    QAbstractScrollArea,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from studio.gui.theme.tokens import SIZES, colours_of
from studio.gui.widgets.labels import PlainLabel, allow_breaks

_WIDEST_WORDS = 560


def accept_all(paths: list[str]) -> bool:
    """Return True: what most widgets think of what is dropped on them."""
    del paths
    return True


class DropCatcher(QObject):
    """Makes a widget accept local files; a frame with words shows while something hovers.

    What ``wants`` refuses goes on to the widgets around the target.

    Signals:
        paths_entered: What hovers over the target now, as a list of texts.
        paths_dropped: The local paths, as a list of texts.
    """

    paths_entered = Signal(list)
    paths_dropped = Signal(list)

    def __init__(
        self, target: QWidget, words: str, wants: Callable[[list[str]], bool] = accept_all
    ) -> None:
        super().__init__(target)
        self._target = target
        self._words = words
        self._wants = wants
        self._veil = _Veil(target)
        self._veil.hide()
        target.setAcceptDrops(True)
        target.installEventFilter(self)

    @property
    def is_hovered(self) -> bool:
        """True while something that can be dropped hovers over the target."""
        return not self._veil.isHidden()

    def show_words(self, title: str, words: str = "", *, is_usable: bool = True) -> None:
        """Shows on the frame what dropping will do, or why nothing will come of it."""
        self._veil.show_words(title, words, is_usable=is_usable)

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
            return self._enter(event)
        if event.type() == QEvent.Type.DragLeave:
            self._veil.hide()
        return False

    def _enter(self, event: QDragEnterEvent) -> bool:
        paths = get_paths(event)
        if not paths or not self._wants(paths):
            return False
        event.acceptProposedAction()
        self._veil.setGeometry(self._target.rect())
        self._veil.show_words(self._words)
        self._veil.raise_()
        self._veil.show()
        self.paths_entered.emit(paths)
        return True


class FilePasser(QObject):
    """Lets files that are dropped on the text fields of a page through to the widgets around them.

    Otherwise a field would take the address of a file as text.
    """

    def __init__(self, page: QWidget) -> None:
        super().__init__(page)
        for line in page.findChildren(QLineEdit):
            line.installEventFilter(self)
        fields: list[QAbstractScrollArea] = [*page.findChildren(QTextEdit)]
        for field in [*fields, *page.findChildren(QPlainTextEdit)]:
            field.viewport().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
        """Refuses files in the name of a field."""
        del watched
        if not isinstance(event, QDragEnterEvent) or event.type() != QEvent.Type.DragEnter:
            return False
        has_files = bool(get_paths(event))
        if has_files:
            event.ignore()
        return has_files


class _Veil(QWidget):
    """A dashed frame over the target with words in its middle."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._is_usable = True
        self._title = PlainLabel("", "heading")
        self._words = PlainLabel("", "body")
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.xl, SIZES.xl, SIZES.xl, SIZES.xl)
        box.setSpacing(SIZES.s)
        box.addStretch(1)
        for label in (self._title, self._words):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            box.addWidget(label)
            box.setAlignment(label, Qt.AlignmentFlag.AlignHCenter)
        box.addStretch(1)

    def show_words(self, title: str, words: str = "", *, is_usable: bool = True) -> None:
        self._title.setText(title)
        self._words.setText(allow_breaks(words))
        self._words.setVisible(bool(words))
        width = min(_WIDEST_WORDS, max(0, self.width() - 2 * SIZES.xl))
        for label in (self._title, self._words):
            label.setFixedSize(width, max(0, label.heightForWidth(width)))
        self._is_usable = is_usable
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 - Qt's name
        del event
        colours = colours_of(self)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        fill = QColor(colours.accent_soft if self._is_usable else colours.warning_soft)
        fill.setAlpha(240)
        painter.setBrush(fill)
        frame = QColor(colours.accent if self._is_usable else colours.warning)
        painter.setPen(QPen(frame, 2, Qt.PenStyle.DashLine))
        area = self.rect().adjusted(12, 12, -12, -12)
        painter.drawRoundedRect(area, SIZES.radius_card, SIZES.radius_card)


def get_paths(event: QDropEvent) -> list[str]:
    """Return the local paths that an event carries."""
    urls = event.mimeData().urls()
    return [str(Path(url.toLocalFile())) for url in urls if url.isLocalFile()]
