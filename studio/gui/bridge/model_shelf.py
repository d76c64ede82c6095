"""The models of this machine, read beside the GUI thread and kept once read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from studio.core.errors import ModelUnusable, StudioError
from studio.core.hub.cache import find_hub_snapshot
from studio.core.weights.folder import check_model_folder
from studio.core.weights.layers import ModelLayers, load_layers
from studio.core.weights.local import find_models
from studio.gui.bridge.background import Background

_KEPT = 4


class ModelShelf(QObject):
    """Answers what a model is made of, from file headers alone.

    Signals:
        models_found: Every ``FoundModel`` of this machine, usable ones first.
        models_failed: A ``StudioError`` that ended the search.
        layers_loaded: The model as it was asked for, and its ``ModelLayers``.
        layers_failed: The model as it was asked for, and a ``StudioError``.
    """

    models_found = Signal(list)
    models_failed = Signal(object)
    layers_loaded = Signal(str, object)
    layers_failed = Signal(str, object)

    def __init__(self, background: Background, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._background = background
        self._layers: dict[str, ModelLayers] = {}
        self._asked: set[str] = set()

    def search(self, folders: Sequence[str]) -> None:
        """Looks for models in the usual places and in ``folders``; the answer comes by signal."""
        places = [Path(folder) for folder in folders]
        self._background.start(
            lambda _cancellation: find_models(places),
            self.models_found.emit,
            self.models_failed.emit,
        )

    def find_layers(self, model: str) -> ModelLayers | None:
        """Return what is known of a model already, or None; ``load`` asks for it."""
        return self._layers.get(model)

    def load(self, model: str) -> None:
        """Reads a model's headers; the answer comes by signal, also when it is known already."""
        known = self._layers.get(model)
        if known is not None:
            self.layers_loaded.emit(model, known)
            return
        if model in self._asked:
            return
        self._asked.add(model)
        self._background.start(
            lambda _cancellation: load_model(model),
            partial(self._on_loaded, model),
            partial(self._on_failed, model),
        )

    def forget(self, model: str) -> None:
        """Drops what is known of a model, because its folder may have changed."""
        self._layers.pop(model, None)

    def _on_loaded(self, model: str, layers: Any) -> None:
        self._asked.discard(model)
        while len(self._layers) >= _KEPT:
            self._layers.pop(next(iter(self._layers)))
        self._layers[model] = layers
        self.layers_loaded.emit(model, layers)

    def _on_failed(self, model: str, error: StudioError) -> None:
        self._asked.discard(model)
        self.layers_failed.emit(model, error)


def load_model(model: str) -> ModelLayers:
    """Return what a model that is named by its folder or its name on the hub is made of.

    Raises:
        ModelUnusable: Its folder lacks what training needs: weights, description or tokenizer.
        FileUnusable: A file cannot be read.
    """
    folder = find_folder(model)
    check_model_folder(folder)
    return load_layers(folder)


def find_folder(model: str) -> Path:
    """Return the folder of a model that is named by its folder or by its name on the hub.

    Raises:
        ModelUnusable: It is not on this machine.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    snapshot = None if folder.is_absolute() else find_hub_snapshot(model)
    if snapshot is None:
        raise ModelUnusable(
            f"The model {model} is not on this machine.",
            "Choose another model, or put it back where it was.",
        )
    return snapshot
