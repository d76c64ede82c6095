"""Asks which base model an imported adapter belongs to, wherever that is found missing."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from studio.core.errors import ModelUnusable
from studio.core.runs.importing import choose_base
from studio.core.runs.layout import RunLayout
from studio.gui.bridge.adapter_choice import AdapterChoice
from studio.gui.bridge.background import Background
from studio.gui.bridge.run_catalog import get_base_name
from studio.gui.widgets.notice import Notice

ASK = "Choose the base model…"


class BaseAsker(QObject):
    """Lets the user choose a folder and keeps the answer with the run, off the window's thread.

    Signals:
        kept: The folder of the run and the folder of its base.
        failed: A ``StudioError``: there is no model, or the run cannot be written to.
    """

    kept = Signal(str, str)
    failed = Signal(object)

    def __init__(self, background: Background, widget: QWidget) -> None:
        super().__init__(widget)
        self._background, self._widget = background, widget

    def ask(self, run: str) -> None:
        """Asks for the base of the imported run in a folder."""
        folder = QFileDialog.getExistingDirectory(self._widget, "Choose the base model's folder")
        if folder:
            self._background.start(
                lambda _: keep_base(run, folder),
                lambda _: self.kept.emit(run, folder),
                self.failed.emit,
            )


class BaseNotice(Notice):
    """A warning with the button that asks; hidden until an adapter lacks its base.

    Signals:
        kept: The folder of a run that has its base now.
    """

    kept = Signal(str)

    def __init__(self, background: Background, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run = ""
        self._asker = BaseAsker(background, self)
        self.action_requested.connect(lambda: self._asker.ask(self._run))
        self._asker.kept.connect(self._on_asker_kept)
        self._asker.failed.connect(lambda error: self.show_error(error, ASK))

    def offer(self, choice: AdapterChoice) -> None:
        """Says that the base of an imported adapter is not here, and offers to choose it."""
        self._run = choice.lacking_run
        if choice.base:
            message = f"The base model of {choice.name}, {choice.base}, is not on this machine."
        else:
            message = f"{choice.name} does not say which base model it was trained on."
        self.show_message("warning", message, "Choose the folder of that model.", ASK)

    def _on_asker_kept(self, run: str, _folder: str) -> None:
        self.clear()
        self.kept.emit(run)


def keep_base(run: str, folder: str) -> None:
    """Says that the imported run belongs to the base model in a folder.

    Raises:
        ModelUnusable: There is no model in the folder.
        FileUnusable: The run cannot be written to.
    """
    if not (Path(folder) / "config.json").is_file():
        raise ModelUnusable(
            f"{folder} holds no model: config.json is missing.",
            "Choose the folder that holds config.json and the .safetensors files of the model.",
        )
    choose_base(RunLayout(Path(run)), folder)


def describe_kept(folder: str) -> str:
    """Returns words for a base that was chosen."""
    return f"{get_base_name(folder)} is its base model now."
