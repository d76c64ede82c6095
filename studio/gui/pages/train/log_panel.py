"""What happened, line by line, in words."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from studio.core.events.types import Event
from studio.core.runs.words import describe_event
from studio.gui.theme.fonts import build_mono_font
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel

_LINES_KEPT = 4000


class LogPanel(QWidget):
    """A growing list of lines that stays at its end unless the user scrolled up."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = QPlainTextEdit()
        self._text.setReadOnly(True)
        self._text.setMaximumBlockCount(_LINES_KEPT)
        self._text.setFont(build_mono_font())
        self._text.setLineWrapMode(QPlainTextEdit.LineWrapMode.WidgetWidth)
        self._text.setAccessibleName("Log of the run")
        self._text.setPlaceholderText("Nothing has happened yet.")
        self._copy = Button("Copy", "copy", "quiet")
        self._copy.clicked.connect(self._on_copy_clicked)
        top = QHBoxLayout()
        top.addWidget(PlainLabel("Everything that was chosen, found and saved.", "muted"), 1)
        top.addWidget(self._copy)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, SIZES.s, 0, 0)
        box.setSpacing(SIZES.xs)
        box.addLayout(top)
        box.addWidget(self._text, 1)

    def show_events(self, events: Sequence[Event]) -> None:
        """Replaces all lines."""
        self._text.setPlainText("\n".join(_write_lines(events)))
        self._scroll_down()

    def add_events(self, events: Sequence[Event]) -> None:
        """Adds lines at the end."""
        lines = _write_lines(events)
        if not lines:
            return
        bar = self._text.verticalScrollBar()
        was_at_end = bar.value() >= bar.maximum() - 2
        self._text.appendPlainText("\n".join(lines))
        if was_at_end:
            self._scroll_down()

    def _scroll_down(self) -> None:
        bar = self._text.verticalScrollBar()
        bar.setValue(bar.maximum())

    def _on_copy_clicked(self) -> None:
        QGuiApplication.clipboard().setText(self._text.toPlainText())


def _write_lines(events: Sequence[Event]) -> list[str]:
    lines = []
    for event in events:
        words = describe_event(event)
        if words is not None:
            moment = time.strftime("%H:%M:%S", time.localtime(event.time_seconds))
            lines.append(f"{moment}  {' '.join(words.split())}")
    return lines
