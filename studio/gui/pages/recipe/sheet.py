"""The left side of the recipe page: presets, the search for settings, and the form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.recipe.presets import Preset
from studio.core.recipe.problem import Problem
from studio.gui.forms.form import RecipeForm
from studio.gui.forms.row import FieldRow
from studio.gui.pages.recipe.finder import SettingFinder
from studio.gui.pages.recipe.presets import PresetRow
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel


class RecipeSheet(QWidget):
    """Everything that edits the recipe; passive.

    Signals:
        values_chosen: New values by dotted path, as a mapping: a preset.
        value_edited: The dotted path and the new value.
        fold_toggled: A section, and whether its advanced settings are shown now.
    """

    values_chosen = Signal(object)
    value_edited = Signal(str, object)
    fold_toggled = Signal(str, bool)

    def __init__(
        self,
        presets: Sequence[Preset],
        open_sections: Iterable[str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.presets = PresetRow(presets)
        self.form = RecipeForm(open_sections)
        self._finder = SettingFinder()
        self._nothing = PlainLabel("No setting fits. Try another word.", "muted")
        self._nothing.hide()
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.l)
        for widget in (self.presets, self._finder, self._nothing, self.form):
            box.addWidget(widget)
        self.presets.preset_chosen.connect(self.values_chosen)
        self.form.value_edited.connect(self.value_edited)
        self.form.fold_toggled.connect(self.fold_toggled)
        self._finder.wished.connect(self._on_finder_wished)

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Shows the values of a recipe, given as nested mappings."""
        self.form.show_values(values)
        self.presets.show_values(values)
        self._finder.show_changed_count(self.form.changed_count)

    def show_problems(self, problems: Iterable[Problem]) -> None:
        """Shows each problem beside its editor."""
        self.form.show_problems(problems)

    def lead_to(self, path: str) -> FieldRow | None:
        """Puts the focus into the editor of a setting and returns its row."""
        self._finder.show_all()
        return self.form.focus_setting(path)

    def _on_finder_wished(self, words: str, only_changed: bool) -> None:
        found = self.form.show_matching(words, only_changed=only_changed)
        self._nothing.setVisible(found == 0)
        self.presets.setVisible(not self._finder.is_looking)
