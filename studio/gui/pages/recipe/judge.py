"""What comes of the draft: the size of the adapter, and what is wrong or odd about the settings."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.errors import RecipeInvalid, StudioError
from studio.core.recipe.check import check_recipe
from studio.core.weights.layers import ModelLayers, count_adapter_parameters
from studio.gui.bridge.background import BackgroundCall
from studio.gui.context import Context
from studio.gui.forms.draft import find_adapter_settings

_DELAY_MS = 200
_MEND_FIRST = "The settings of the adapter have to be mended first."


class RecipeJudge(QObject):
    """Compares the draft with itself, its model and the disk; nothing slow on the GUI thread.

    Signals:
        counted: The ``AdapterCount`` of the draft.
        not_counted: Why the size of the adapter is not known.
        problems_found: Everything wrong or odd, as ``Problem``.
        failed: A ``StudioError`` that ended the comparison.
    """

    counted = Signal(object)
    not_counted = Signal(str)
    problems_found = Signal(object)
    failed = Signal(object)

    def __init__(self, context: Context, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._context = context
        self._draft = context.draft
        self._call: BackgroundCall | None = None
        self._known: tuple[str, ModelLayers | None] = ("", None)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY_MS)
        self._timer.timeout.connect(self._check)
        context.shelf.layers_loaded.connect(self._on_layers_loaded)
        context.shelf.layers_failed.connect(self._on_layers_failed)

    def judge(self, *, may_read: bool) -> None:
        """Counts now and checks soon; ``may_read`` allows to read the headers of the model."""
        self._count(may_read=may_read)
        if self._draft.recipe is None:
            self._drop_call()
            self.problems_found.emit(self._draft.problems)
        else:
            self._timer.start()

    def learn(self, model: str, layers: ModelLayers) -> None:
        """Takes over the layers of a model that is not on this machine."""
        if self._known[0] != model and self._context.shelf.find_layers(model) is None:
            self._known = (model, layers)
            self._count(may_read=False)

    def _find_layers(self, model: str) -> ModelLayers | None:
        found = self._context.shelf.find_layers(model)
        return self._known[1] if found is None and self._known[0] == model else found

    def _count(self, *, may_read: bool) -> None:
        model = str(self._draft.get_value("base.model"))
        settings = find_adapter_settings(self._draft)
        layers = self._find_layers(model)
        if not model:
            self.not_counted.emit("Choose a base model to see how large the adapter will be.")
        elif layers is None:
            self.not_counted.emit("Reading the model's layers …")
            if may_read:
                self._context.shelf.load(model)
        elif settings is None:
            self.not_counted.emit(_MEND_FIRST)
        else:
            try:
                self.counted.emit(count_adapter_parameters(layers, settings))
            except RecipeInvalid:  # the list of problems says it in full
                self.not_counted.emit(_MEND_FIRST)

    def _check(self) -> None:
        self._drop_call()
        recipe = self._draft.recipe
        if recipe is None:
            return
        layers = self._find_layers(recipe.base.model)
        folder = self._draft.base_folder
        self._call = self._context.background.start(
            lambda _cancellation: check_recipe(recipe, layers=layers, base_folder=folder),
            self.problems_found.emit,
            self.failed.emit,
        )

    def _drop_call(self) -> None:
        self._timer.stop()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _on_layers_loaded(self, model: str, _layers: Any) -> None:
        if model == self._draft.get_value("base.model"):
            self.judge(may_read=False)

    def _on_layers_failed(self, model: str, error: StudioError) -> None:
        if model == self._draft.get_value("base.model") and self._known[0] != model:
            self.not_counted.emit(str(error))
