"""The search for models: where to look, and how what was found is named and ordered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.weights.local import FoundModel
from studio.gui.context import Context

_STARTER_NAME = "Starter: Tidewick"


class ModelSearch(QObject):
    """Searches when asked, and once more when the user's folders changed.

    Signals:
        started: A search goes on beside the GUI thread.
        listed: Every ``FoundModel``, the starter first, then usable ones.
        failed: A ``StudioError``.
    """

    started = Signal()
    listed = Signal(list)
    failed = Signal(object)

    def __init__(self, context: Context, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._is_stale = True
        context.shelf.models_found.connect(self._on_models_found)
        context.shelf.models_failed.connect(self.failed)
        context.preferences.changed.connect(self._on_preference_changed)

    def refresh(self) -> None:
        """Searches if what was found may be out of date."""
        if self._is_stale:
            self.start()

    def start(self) -> None:
        """Looks in the usual places, the user's folders, and where the chosen model lies."""
        self._is_stale = False
        self.started.emit()
        folders = self._context.preferences.get_texts("model_folders")
        if self._context.starter is not None:
            folders = [str(self._context.starter.model_folder), *folders]
        chosen = str(self._context.draft.get_value("base.model"))
        if Path(chosen).is_absolute() and chosen not in folders:
            folders.append(chosen)
        self._context.shelf.search(folders)

    def _on_models_found(self, models: list[FoundModel]) -> None:
        starter = self._context.starter
        first = str(starter.model_folder) if starter else ""
        own = [replace(model, name=_STARTER_NAME) for model in models if model.reference == first]
        self.listed.emit([*own, *(model for model in models if model.reference != first)])

    def _on_preference_changed(self, name: str) -> None:
        if name == "model_folders":
            self._is_stale = True
