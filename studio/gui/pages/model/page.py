"""The model page: the models of this machine on the left, the chosen one on the right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.weights.local import FoundModel
from studio.core.weights.matching import choose_modules
from studio.gui.context import Context
from studio.gui.pages.model.details import ModelDetails
from studio.gui.pages.model.found_list import FoundList
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button, IconButton
from studio.gui.widgets.drop_area import DropCatcher
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.page import Page

_LIST_WIDTH = 300
_STARTER_NAME = "Starter: Tidewick"


class ModelPage(Page):
    """Chooses the base model of the draft."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            "Model",
            "The model you start from. It stays as it is; the adapter is trained beside it.",
            scrolls=False,
        )
        self._context = context
        self._models: list[FoundModel] = []
        self._was_searched = False
        self._list = FoundList()
        self._list.model_selected.connect(self._on_model_selected)
        self._state = PlainLabel("", "caption")
        self._details = ModelDetails()
        self._empty = EmptyState(
            "model",
            "No model chosen yet",
            "Choose one of the models on the left, or drop a model folder here. A model folder "
            "holds config.json, a tokenizer and safetensors files.",
            "Choose a folder…",
        )
        self._empty.action_requested.connect(self._on_choose_clicked)
        self._right = QStackedWidget()
        self._right.addWidget(self._empty)
        self._right.addWidget(self._details)
        self._next = Button("&Next: Data", "arrow-right", "primary", icon_after=True)
        self._next.clicked.connect(lambda: self.page_requested.emit("data"))
        self._build_layout()
        drops = DropCatcher(self, "Drop the model folder here")
        drops.paths_dropped.connect(lambda paths: self._choose_folder(paths[0]))
        context.shelf.models_found.connect(self._on_models_found)
        context.shelf.models_failed.connect(lambda error: self._state.setText(str(error)))
        context.shelf.layers_loaded.connect(self._on_layers_loaded)
        context.shelf.layers_failed.connect(self._on_layers_failed)
        context.draft.changed.connect(self._on_draft_changed)
        context.preferences.changed.connect(self._on_preference_changed)

    def refresh(self) -> None:
        """Looks for models on the first show and shows the draft's model."""
        if not self._was_searched:
            self._search()
        self._show_chosen()

    def _build_layout(self) -> None:
        choose = Button("&Choose a folder…", "folder")
        choose.clicked.connect(self._on_choose_clicked)
        self.header_actions.addWidget(choose)
        self.header_actions.addWidget(self._next)
        again = IconButton("refresh", "Look for models again")
        again.clicked.connect(self._search)
        top = QHBoxLayout()
        top.addWidget(PlainLabel("On this machine", "strong"), 1)
        top.addWidget(again)
        left = QVBoxLayout()
        left.setSpacing(SIZES.s)
        left.addLayout(top)
        left.addWidget(self._list, 1)
        left.addWidget(self._state)
        side = QWidget()
        side.setFixedWidth(_LIST_WIDTH)
        side.setLayout(left)
        left.setContentsMargins(0, 0, 0, 0)
        columns = QHBoxLayout()
        columns.setSpacing(SIZES.l)
        columns.addWidget(side)
        columns.addWidget(self._right, 1)
        self.body.addLayout(columns, 1)

    def _search(self) -> None:
        self._was_searched = True
        self._state.setText("Looking for models …")
        folders = self._context.preferences.get_texts("model_folders")
        if self._context.starter is not None:
            folders = [str(self._context.starter.model_folder), *folders]
        chosen = str(self._context.draft.get_value("base.model"))
        if Path(chosen).is_absolute() and chosen not in folders:
            folders.append(chosen)
        self._context.shelf.search(folders)

    def _show_chosen(self) -> None:
        model = str(self._context.draft.get_value("base.model"))
        self._right.setCurrentWidget(self._details if model else self._empty)
        self._next.setEnabled(bool(model))
        if model:
            found = next((m for m in self._models if m.reference == model), None)
            self._details.show_name(found.name if found else Path(model).name, model)
            self._context.shelf.load(model)

    def _show_ranks(self) -> None:
        layers = self._context.shelf.find_layers(self._context.draft.get_value("base.model"))
        settings = self._context.draft.find_adapter_settings()
        if layers is None or settings is None:
            return
        try:
            chosen = choose_modules(layers.candidates, settings)
        except StudioError:  # the recipe page says what is wrong with the settings
            chosen = []
        self._details.show_ranks({item.name: item.rank for item in chosen})

    def _choose_folder(self, folder: str) -> None:
        path = Path(folder)
        self._context.shelf.forget(folder)
        self._context.draft.set_value("base.model", str(path if path.is_dir() else path.parent))
        self._search()

    def _on_choose_clicked(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of a model")
        if folder:
            self._choose_folder(str(Path(folder)))

    def _on_model_selected(self, model: FoundModel) -> None:
        if model.is_usable:
            self._context.draft.set_value("base.model", model.reference)
            return
        self._right.setCurrentWidget(self._details)
        self._details.show_unusable(model)

    def _on_models_found(self, models: list[FoundModel]) -> None:
        starter = self._context.starter
        first = str(starter.model_folder) if starter else ""
        own = [replace(m, name=_STARTER_NAME) for m in models if m.reference == first]
        self._models = [*own, *(m for m in models if m.reference != first)]
        count = sum(model.is_usable for model in self._models)
        self._state.setText(f"{count} usable. More folders can be added on the Settings page.")
        self._list.show_models(self._models, self._context.draft.get_value("base.model"))
        self._show_chosen()

    def _on_layers_loaded(self, model: str, layers: Any) -> None:
        if model == self._context.draft.get_value("base.model"):
            self._details.show_layers(layers)
            self._show_ranks()

    def _on_layers_failed(self, model: str, error: StudioError) -> None:
        if model == self._context.draft.get_value("base.model"):
            self._details.show_error(error)

    def _on_draft_changed(self, path: str) -> None:
        if not self.isVisible():
            return
        if path in ("", "base.model"):
            self._show_chosen()
        else:
            self._show_ranks()

    def _on_preference_changed(self, name: str) -> None:
        if name == "model_folders":
            self._was_searched = False
