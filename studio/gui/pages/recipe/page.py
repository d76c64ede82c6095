"""The recipe page: presets and the form on the left, what comes of it on the right."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.recipe.check import check_recipe
from studio.core.recipe.presets import Preset, load_presets
from studio.core.recipe.problem import Problem
from studio.core.weights.layers import count_adapter_parameters
from studio.gui.bridge.background import BackgroundCall
from studio.gui.context import Context
from studio.gui.forms.form import RecipeForm
from studio.gui.pages.recipe.files import RecipeFiles
from studio.gui.pages.recipe.presets import PresetRow
from studio.gui.pages.recipe.summary import ProblemsCard, SizeCard
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.page import Page

_SIDE_WIDTH = 256
_CHECK_DELAY_MS = 200
_OPEN_KEY = "recipe_open_sections"


class RecipePage(Page):
    """Edits the draft; every change is kept at once."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            "Recipe", "Every setting of the run. The defaults are a good start.", scrolls=False
        )
        self._context = context
        self._draft = context.draft
        self._notice = Notice()
        self._files = RecipeFiles(self)
        self._files.recipe_opened.connect(self._draft.load)
        self._files.failed.connect(self._notice.show_error)
        self._presets = PresetRow(find_presets())
        self._presets.preset_chosen.connect(self._draft.set_values)
        self._form = RecipeForm(context.preferences.get_texts(_OPEN_KEY))
        self._form.value_edited.connect(self._draft.set_value)
        self._form.fold_toggled.connect(self._on_fold_toggled)
        self._size = SizeCard()
        self._problems = ProblemsCard()
        self._problems.setting_requested.connect(self._on_setting_requested)
        self._next = Button("&Next: Train", "arrow-right", "primary", icon_after=True)
        self._next.clicked.connect(lambda: self.page_requested.emit("train"))
        self._check_call: BackgroundCall | None = None
        self._check_timer = QTimer(self)
        self._check_timer.setSingleShot(True)
        self._check_timer.setInterval(_CHECK_DELAY_MS)
        self._check_timer.timeout.connect(self._check)
        self._build_layout()
        self._draft.changed.connect(self._show_draft)
        self._draft.save_failed.connect(self._notice.show_error)
        context.shelf.layers_loaded.connect(self._on_layers_loaded)
        context.shelf.layers_failed.connect(self._on_layers_failed)
        self._show_draft()

    def refresh(self) -> None:
        """Asks for the layers of the model when it changed on another page."""
        self._show_draft()

    def _build_layout(self) -> None:
        open_file = Button("&Open…", "folder")
        open_file.clicked.connect(self._files.open)
        save = Button("&Save as…", "download")
        save.clicked.connect(lambda: self._files.save(self._draft.recipe))
        for button in (open_file, save, self._next):
            self.header_actions.addWidget(button)
        left = QVBoxLayout()
        left.setContentsMargins(0, 0, SIZES.s, SIZES.xl)
        left.setSpacing(SIZES.l)
        for widget in (self._notice, self._presets, self._form):
            left.addWidget(widget)
        left.addStretch(1)
        right = QVBoxLayout()
        right.setContentsMargins(0, 0, 0, SIZES.xl)
        right.setSpacing(SIZES.l)
        right.addWidget(self._size)
        right.addWidget(self._problems)
        right.addStretch(1)
        columns = QHBoxLayout()
        columns.setSpacing(SIZES.s)
        self._scroll = _scroll(left)
        columns.addWidget(self._scroll, 1)
        side = _scroll(right)
        side.setFixedWidth(_SIDE_WIDTH)
        columns.addWidget(side)
        self.body.setContentsMargins(SIZES.xl, SIZES.xs, SIZES.l, 0)
        self.body.addLayout(columns, 1)

    def _show_draft(self, _path: str = "") -> None:
        values = self._draft.get_values()
        self._form.show_values(values)
        self._presets.show_values(values)
        self._count()
        if self._draft.recipe is None:
            self._show_problems(self._draft.problems)
        self._check_timer.start()

    def _show_problems(self, problems: Sequence[Problem]) -> None:
        self._form.show_problems(problems)
        self._problems.show_problems(problems)

    def _check(self) -> None:
        """Compares the settings with each other, the model and the disk, on another thread."""
        if self._check_call is not None:
            self._check_call.cancel()
        recipe = self._draft.recipe
        if recipe is None:
            return
        layers = self._context.shelf.find_layers(recipe.base.model)
        folder = self._draft.base_folder
        self._check_call = self._context.background.start(
            lambda _cancellation: check_recipe(recipe, layers=layers, base_folder=folder),
            self._show_problems,
            self._notice.show_error,
        )

    def _count(self) -> None:
        model = str(self._draft.get_value("base.model"))
        settings = self._draft.find_adapter_settings()
        if not model:
            self._size.show_unknown("Choose a base model to see how large the adapter will be.")
            return
        layers = self._context.shelf.find_layers(model)
        if layers is None:
            self._size.show_unknown("Reading the model's layers …")
            if self.isVisible():
                self._context.shelf.load(model)
            return
        if settings is None:
            self._size.show_unknown("The settings of the adapter have to be mended first.")
            return
        try:
            self._size.show_count(count_adapter_parameters(layers, settings))
        except StudioError as error:
            self._size.show_error(error)

    def _on_layers_loaded(self, model: str, _layers: Any) -> None:
        if model == self._draft.get_value("base.model"):
            self._count()
            self._check_timer.start()

    def _on_layers_failed(self, model: str, error: StudioError) -> None:
        if model == self._draft.get_value("base.model"):
            self._size.show_error(error)

    def _on_fold_toggled(self, section: str, is_open: bool) -> None:
        opened = set(self._context.preferences.get_texts(_OPEN_KEY)) - {section}
        opened |= {section} if is_open else set()
        self._context.preferences.keep(_OPEN_KEY, sorted(opened))

    def _on_setting_requested(self, path: str) -> None:
        if path == "base.model" or path.startswith("data.train"):
            self.page_requested.emit("model" if path == "base.model" else "data")
            return
        row = self._form.focus_setting(path)
        if row is not None:
            self._scroll.ensureWidgetVisible(row)


def find_presets() -> list[Preset]:
    """Return the presets that come with the program, none where they are missing or damaged."""
    try:
        return load_presets()
    except StudioError as error:
        logging.getLogger(__name__).warning("no presets: %s", error)
        return []


def _scroll(column: QVBoxLayout) -> QScrollArea:
    content = QWidget()
    content.setProperty("role", "scrolled")
    content.setLayout(column)
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(content)
    return area
