"""The recipe's form: a card per section, essential settings first, the others folded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.recipe.fields import FieldSpec, get_fields
from studio.core.recipe.problem import Problem
from studio.gui.forms.row import FieldRow
from studio.gui.forms.words import SECTION_TITLES
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.card import Card
from studio.gui.widgets.fold import Fold

ELSEWHERE = frozenset({"version", "base.model", "data.train"})
"""Settings that have a page of their own, or none to edit."""
SECTION_ORDER = ("", "adapter", "train", "data", "base")


class RecipeForm(QWidget):
    """All settings of a recipe as rows; passive.

    Signals:
        value_edited: The dotted path and the new value.
        fold_toggled: A section, and whether its advanced settings are shown now.
    """

    value_edited = Signal(str, object)
    fold_toggled = Signal(str, bool)

    def __init__(self, open_sections: Iterable[str] = (), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[str, FieldRow] = {}
        self._folds: dict[str, Fold] = {}
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.l)
        opened = set(open_sections)
        by_section: dict[str, list[FieldSpec]] = {name: [] for name in SECTION_ORDER}
        for spec in iter_form_fields():
            by_section[spec.section].append(spec)
        for name, specs in by_section.items():
            box.addWidget(self._build_section(name, specs, name in opened))

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Shows the values of a recipe, given as nested mappings."""
        for path, row in self._rows.items():
            place: Any = values
            for name in path.split("."):
                place = place[name]
            row.show_value(place)

    def show_problems(self, problems: Iterable[Problem]) -> None:
        """Shows each problem beside its editor; a folded section with an error opens."""
        by_path: dict[str, list[Problem]] = {}
        for problem in problems:
            by_path.setdefault(self._find_row_path(problem.path), []).append(problem)
        for path, row in self._rows.items():
            found = by_path.get(path, [])
            row.show_problems(found)
            is_hidden = row.spec.level == "advanced"
            if is_hidden and any(problem.severity == "error" for problem in found):
                self._folds[row.spec.section].show_open(True)

    def focus_setting(self, path: str) -> FieldRow | None:
        """Opens the section of a setting and puts the focus into its editor."""
        row = self._rows.get(self._find_row_path(path))
        if row is None:
            return None
        if row.spec.level == "advanced":
            self._folds[row.spec.section].show_open(True)
        row.focus_editor()
        return row

    def _find_row_path(self, path: str) -> str:
        """Return the path of the row that shows a setting or a part of it."""
        bare = path.split("[", 1)[0]
        while bare and bare not in self._rows:
            bare = bare.rpartition(".")[0]
        return bare

    def _build_section(self, name: str, specs: list[FieldSpec], is_open: bool) -> QWidget:
        card = Card(SECTION_TITLES[name])
        card.body.setSpacing(SIZES.l)
        fold = Fold("Advanced settings", is_open=is_open)
        fold.toggled.connect(lambda shown: self.fold_toggled.emit(name, shown))
        for spec in specs:
            row = FieldRow(spec)
            row.edited.connect(self.value_edited)
            self._rows[spec.path] = row
            (card.body if spec.level == "essential" else fold.body).addWidget(row)
        self._folds[name] = fold
        card.body.addWidget(fold)
        fold.setVisible(any(spec.level == "advanced" for spec in specs))
        return card


def iter_form_fields() -> Iterable[FieldSpec]:
    """Yield the settings that the form shows, in the order of the file."""
    for spec in get_fields():
        is_part = "[]" in spec.path or spec.path.count(".") > 1
        if not is_part and spec.path not in ELSEWHERE:
            yield spec
