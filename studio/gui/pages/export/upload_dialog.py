"""The question before an export goes to the hub: where to, and who may see it."""

from __future__ import annotations

import re

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from studio.core.errors import Offline
from studio.core.network.gate import Gate
from studio.core.units import format_bytes, format_things
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.segmented import Segmented

_NAME = re.compile(r"^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$")
_WIDTH = 520
_SEEN_BY = {
    "private": "Only you, and people whom you let in, can see it. You can publish it later.",
    "public": "Everybody can see and download it, with the model card and the certificate.",
}


class UploadDialog(QDialog):
    """Name of the repository, who may see it, and why it cannot go up, if so.

    Signals:
        upload_requested: The repository (owner/name), and whether it is private.
    """

    upload_requested = Signal(str, bool)

    def __init__(
        self,
        gate: Gate,
        *,
        has_token: bool,
        files: int,
        size_bytes: int,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Upload to the Hugging Face Hub")
        self.setMinimumWidth(_WIDTH)
        self._obstacle = find_obstacle(gate, has_token=has_token)
        self._visibility = "private"
        self.name = QLineEdit()
        self.name.setPlaceholderText("your-name/model-name")
        self.name.setAccessibleName("Repository")
        self.name.textChanged.connect(self._show_state)
        self._seen = Segmented(
            "Who may see it", (("private", "Only me", "lock"), ("public", "Everybody", ""))
        )
        self._seen.chosen.connect(self._on_seen_chosen)
        self._seen_words = PlainLabel("", "caption")
        self._state = PlainLabel("", "muted")
        self.upload = Button("Upload", "export", "primary")
        self.upload.clicked.connect(self._on_upload_clicked)
        cancel = Button("Cancel")
        cancel.clicked.connect(self.reject)
        grid = QGridLayout()
        grid.setHorizontalSpacing(SIZES.l)
        grid.setVerticalSpacing(SIZES.s)
        grid.addWidget(PlainLabel("Repository", wraps=False), 0, 0)
        grid.addWidget(self.name, 0, 1)
        grid.addWidget(PlainLabel("Who may see it", wraps=False), 1, 0)
        grid.addWidget(self._seen, 1, 1)
        grid.addWidget(self._seen_words, 2, 1)
        grid.setColumnStretch(1, 1)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self.upload)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.l, SIZES.l, SIZES.l, SIZES.l)
        box.setSpacing(SIZES.m)
        size = f"{format_things(files, 'file')}, {format_bytes(size_bytes)}."
        words = f"{size} They appear when all are there."
        box.addWidget(PlainLabel(words))
        box.addLayout(grid)
        box.addWidget(self._state)
        box.addLayout(buttons)
        self._on_seen_chosen("private")
        self._show_state()

    def _show_state(self) -> None:
        text = self.name.text().strip()
        is_named = _NAME.match(text) is not None
        words = self._obstacle
        if not words and text and not is_named:
            words = "Write it as owner/name, with letters, digits, dots, hyphens and underscores."
        elif not words and not text:
            words = "Your name on the hub, a slash, and a name for the model."
        self._state.setText(words)
        self._state.setVisible(bool(words))
        self.upload.setEnabled(is_named and not self._obstacle)

    def _on_seen_chosen(self, visibility: str) -> None:
        self._visibility = visibility
        self._seen.show_value(visibility)
        self._seen_words.setText(_SEEN_BY[visibility])

    def _on_upload_clicked(self) -> None:
        self.upload_requested.emit(self.name.text().strip(), self._visibility == "private")
        self.accept()


def find_obstacle(gate: Gate, *, has_token: bool) -> str:
    """Returns why nothing can go up now, and what to do about it; empty when it can."""
    try:
        gate.check("upload to the hub")
    except Offline as error:
        return str(error)
    if not has_token:
        return (
            "The hub lets only known users upload. Save an access token (kind: write) under "
            "Settings, Network."
        )
    return ""
