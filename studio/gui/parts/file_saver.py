"""What a page shows as a file: the user says where, it is written off the window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from studio.core.files import write_atomically
from studio.gui.bridge.background import Background
from studio.gui.widgets.notice import Notice


class FileSaver:
    """Writes files and says on a notice where they are, or why there are none."""

    def __init__(self, background: Background, notice: Notice) -> None:
        self._background = background
        self._notice = notice

    def show_menu(
        self, button: QWidget, kinds: Sequence[tuple[str, str]], choose: Callable[[str], None]
    ) -> None:
        """Offers kinds of files, each a key and words, below a button."""
        menu = QMenu(button)
        for key, words in kinds:
            menu.addAction(words, partial(choose, key))
        menu.popup(button.mapToGlobal(button.rect().bottomLeft()))

    def ask(self, parent: QWidget, name: str, build: Callable[[], bytes | str]) -> None:
        """Asks where a file is to be, proposing a name, and writes it there."""
        path, _ = QFileDialog.getSaveFileName(parent, "Save as", name)
        if path:
            self.save(Path(path), build)

    def save(self, path: Path, build: Callable[[], bytes | str]) -> None:
        """Writes what ``build`` returns; it is called beside the window."""
        self._background.start(
            lambda _: write_atomically(path, build()),
            lambda _: self._notice.show_message("success", f"Saved as {path}."),
            self._notice.show_error,
        )
