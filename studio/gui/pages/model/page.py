"""The model page: the models of this machine on the left, the chosen one on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QStackedWidget

from studio.core.errors import StudioError
from studio.core.weights.local import FoundModel
from studio.gui.context import Context
from studio.gui.forms.draft import find_adapter_settings
from studio.gui.pages.model.choosing import ModelChoice
from studio.gui.pages.model.details import ModelDetails
from studio.gui.pages.model.found_panel import FoundPanel
from studio.gui.pages.model.search import ModelSearch
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.hub.dialog import open_hub_dialog
from studio.gui.widgets.hub.strip import DownloadStrip
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page

_EMPTY = (
    "model",
    "No model chosen yet",
    "Choose one of the models on the left, find one on the hub, or drop a model folder here: one "
    "with config.json, a tokenizer and safetensors files.",
    "Choose a folder…",
)


class ModelPage(Page):
    """Chooses the base model of the draft."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            "Model",
            "The model you start from. It stays as it is; the adapter is trained beside it.",
            scrolls=False,
        )
        self._draft = context.draft
        self._shelf = context.shelf
        self._hub_shelf = context.hub
        self._search = ModelSearch(context, self)
        self._notice = Notice()
        self._choice = ModelChoice(context, self._notice, self)
        self._found = FoundPanel()
        self._details = ModelDetails()
        self._empty = EmptyState(*_EMPTY)
        self._right = QStackedWidget()
        self._right.addWidget(self._empty)
        self._right.addWidget(self._details)
        self._hub = Button("&Find on the hub…", "search")
        self._choose = Button("&Choose a folder…", "folder")
        self._next = Button("&Next: Data", "arrow-right", "primary", icon_after=True)
        for button in (self._hub, self._choose, self._next):
            self.header_actions.addWidget(button)
        columns = QHBoxLayout()
        columns.setSpacing(SIZES.l)
        columns.addWidget(self._found)
        columns.addWidget(self._right, 1)
        self.body.addWidget(self._notice)
        self.body.addLayout(columns, 1)
        self.body.addWidget(DownloadStrip(context.hub, "model"))
        self._connect()

    def refresh(self) -> None:
        """Looks for models on the first show and shows the draft's model."""
        self._search.refresh()
        self._show_chosen()

    def take_paths(self, paths: Sequence[str]) -> None:
        """Chooses the model in a folder; of several the first."""
        path = Path(paths[0])
        self._choice.choose(str(path if path.is_dir() else path.parent))
        self._search.start()

    def _connect(self) -> None:
        self._hub.clicked.connect(
            lambda: open_hub_dialog(self._hub_shelf, "model", self.window(), self._choice.choose)
        )
        self._hub_shelf.arrived.connect(lambda *_: self._search.start())
        self._choose.clicked.connect(self._on_choose_clicked)
        self._empty.action_requested.connect(self._on_choose_clicked)
        self._next.clicked.connect(lambda: self.page_requested.emit("data"))
        self._found.model_selected.connect(self._on_model_selected)
        self._found.search_requested.connect(self._search.start)
        self._search.started.connect(self._found.show_searching)
        self._search.failed.connect(self._found.show_error)
        self._search.listed.connect(self._on_models_listed)
        self._shelf.layers_loaded.connect(self._on_layers_loaded)
        self._shelf.layers_failed.connect(self._on_layers_failed)
        self._draft.changed.connect(self._on_draft_changed)

    def _show_chosen(self) -> None:
        model = str(self._draft.get_value("base.model"))
        self._right.setCurrentWidget(self._details if model else self._empty)
        self._next.setEnabled(bool(model))
        if model:
            self._details.show_name(self._found.find_name(model) or Path(model).name, model)
            self._shelf.load(model)

    def _show_ranks(self) -> None:
        layers = self._shelf.find_layers(self._draft.get_value("base.model"))
        settings = find_adapter_settings(self._draft)
        if layers is None or settings is None:
            return
        try:
            chosen = layers.choose(settings)
        except StudioError:  # the recipe page says what is wrong with the settings
            chosen = []
        self._details.show_ranks({item.name: item.rank for item in chosen})

    def _on_choose_clicked(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of a model")
        if folder:
            self.take_paths([folder])

    def _on_model_selected(self, model: FoundModel) -> None:
        if model.is_usable:
            self._choice.choose(model.reference)
            self._show_chosen()
            return
        self._right.setCurrentWidget(self._details)
        self._details.show_unusable(model)

    def _on_models_listed(self, models: list[FoundModel]) -> None:
        self._found.show_models(models, self._draft.get_value("base.model"))
        self._show_chosen()

    def _on_layers_loaded(self, model: str, layers: Any) -> None:
        if model == self._draft.get_value("base.model"):
            self._details.show_layers(layers)
            self._show_ranks()

    def _on_layers_failed(self, model: str, error: StudioError) -> None:
        if model == self._draft.get_value("base.model"):
            self._details.show_error(error)

    def _on_draft_changed(self, path: str) -> None:
        if not self.isVisible():
            return
        if path in ("", "base.model"):
            self._show_chosen()
        else:
            self._show_ranks()
