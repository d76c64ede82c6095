"""The frozen recipe of a run, as the file says it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from studio.gui.theme.fonts import build_mono_font
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel


class RecipePanel(QWidget):
    """The recipe as text, to read, copy or take over into the form.

    Signals:
        reuse_requested: The user wants to edit and train this recipe once more.
    """

    reuse_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = QPlainTextEdit()
        self._text.setReadOnly(True)
        self._text.setFont(build_mono_font())
        self._text.setAccessibleName("Recipe of the run")
        copy = Button("Copy", "copy", "quiet")
        copy.clicked.connect(self._on_copy_clicked)
        self._reuse = Button("Use again", "recipe", "quiet")
        self._reuse.clicked.connect(self.reuse_requested)
        top = QHBoxLayout()
        top.addWidget(
            PlainLabel("The settings this run was started with; they never change.", "muted"), 1
        )
        top.addWidget(self._reuse)
        top.addWidget(copy)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, SIZES.s, 0, 0)
        box.setSpacing(SIZES.xs)
        box.addLayout(top)
        box.addWidget(self._text, 1)

    def show_text(self, text: str) -> None:
        """Shows the recipe, or why it cannot be read."""
        self._text.setPlainText(text)

    def _on_copy_clicked(self) -> None:
        QGuiApplication.clipboard().setText(self._text.toPlainText())
