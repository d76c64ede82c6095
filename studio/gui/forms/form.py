"""The recipe's form: a card per section, essential settings first, the others folded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.recipe.fields import FieldSpec, get_fields
from studio.core.recipe.problem import Problem
from studio.gui.forms.row import FieldRow, is_changed
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
        self._folded: dict[str, list[FieldSpec]] = {name: [] for name in SECTION_ORDER}
        self._sections = {spec.path: spec.section for spec in iter_form_fields()}
        self._cards: dict[str, QWidget] = {}
        self._wish: tuple[str, bool] = ("", False)
        self._were_open: set[str] = set()
        self._values: Mapping[str, Any] = {}
        self._problems: dict[str, list[Problem]] = {}
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.l)
        for name in SECTION_ORDER:
            self._cards[name] = self._build_section(name)
            box.addWidget(self._cards[name])
        for name in open_sections:
            if name in self._folds:
                self._unfold(name)

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Shows the values of a recipe, given as nested mappings."""
        self._values = values
        for row in self._rows.values():
            self._fill(row)

    @property
    def changed_count(self) -> int:
        """How many settings are not at their defaults."""
        return sum(is_changed(spec, self._get_value(spec)) for spec in iter_form_fields())

    def show_matching(self, words: str, *, only_changed: bool) -> int:
        """Shows only settings that fit; nothing to look for shows all. Returns how many fit."""
        was_looking, self._wish = any(self._wish), (words, only_changed)
        if not was_looking:
            self._were_open = {name for name, fold in self._folds.items() if fold.is_open}
        if not any(self._wish):
            self._show_everything()
            return len(self._sections)
        found = 0
        for name, fold in self._folds.items():
            self._unfold(name)
            fold.show_button(False)
            rows = [row for row in self._rows.values() if row.spec.section == name]
            for row in rows:
                fits = is_match(row.spec, words) and (row.is_changed or not only_changed)
                row.setVisible(fits)
                found += fits
            self._cards[name].setVisible(any(not row.isHidden() for row in rows))
        return found

    def show_problems(self, problems: Iterable[Problem]) -> None:
        """Shows each problem beside its editor; a folded section with an error opens."""
        self._problems = {}
        for problem in problems:
            path = self._find_row_path(problem.path)
            self._problems.setdefault(path, []).append(problem)
            if problem.severity == "error" and path in self._sections and path not in self._rows:
                self._unfold(self._sections[path])
        for path, row in self._rows.items():
            found = self._problems.get(path, [])
            row.show_problems(found)
            if row.spec.level == "advanced" and any(one.severity == "error" for one in found):
                self._unfold(row.spec.section)

    def focus_setting(self, path: str) -> FieldRow | None:
        """Opens the section of a setting and puts the focus into its editor."""
        row_path = self._find_row_path(path)
        if row_path not in self._sections:
            return None
        if row_path not in self._rows or self._rows[row_path].spec.level == "advanced":
            self._unfold(self._sections[row_path])
        self._rows[row_path].focus_editor()
        return self._rows[row_path]

    def _find_row_path(self, path: str) -> str:
        """Return the path of the row that shows a setting or a part of it."""
        bare = path.split("[", 1)[0]
        while bare and bare not in self._sections:
            bare = bare.rpartition(".")[0]
        return bare

    def _build_section(self, name: str) -> QWidget:
        card = Card(SECTION_TITLES[name])
        card.body.setSpacing(SIZES.l)
        for spec in iter_form_fields():
            if spec.section != name:
                continue
            if spec.level == "essential":
                card.body.addWidget(self._build_row(spec))
            else:
                self._folded[name].append(spec)
        fold = Fold("Advanced settings", SECTION_TITLES[name])
        fold.toggled.connect(lambda is_open: self._on_fold_toggled(name, is_open))
        self._folds[name] = fold
        card.body.addWidget(fold)
        fold.setVisible(bool(self._folded[name]))
        return card

    def _build_row(self, spec: FieldSpec) -> FieldRow:
        row = FieldRow(spec)
        row.edited.connect(self.value_edited)
        self._rows[spec.path] = row
        return row

    def _unfold(self, name: str) -> None:
        """Open a section; its advanced rows are made when they are wanted for the first time."""
        for spec in self._folded[name]:
            row = self._build_row(spec)
            self._folds[name].body.addWidget(row)
            self._fill(row)
            row.show_problems(self._problems.get(spec.path, []))
        self._folded[name] = []
        self._folds[name].show_open(True)

    def _show_everything(self) -> None:
        for row in self._rows.values():
            row.show()
        for name, fold in self._folds.items():
            self._cards[name].show()
            fold.show_button(True)
            fold.show_open(name in self._were_open)

    def _fill(self, row: FieldRow) -> None:
        row.show_value(self._get_value(row.spec))

    def _get_value(self, spec: FieldSpec) -> Any:
        place: Any = self._values
        for name in spec.path.split("."):
            if name not in place:
                return spec.default
            place = place[name]
        return place

    def _on_fold_toggled(self, name: str, is_open: bool) -> None:
        if is_open:
            self._unfold(name)
        self.fold_toggled.emit(name, is_open)


def is_match(spec: FieldSpec, words: str) -> bool:
    """Return whether all words are found in what is written about a setting."""
    choices = " ".join(f"{choice.value} {choice.words}" for choice in spec.choices)
    title = SECTION_TITLES.get(spec.section, "")
    text = f"{spec.path} {spec.label} {spec.help} {title} {choices}".lower()
    return all(word in text for word in words.lower().split())


def iter_form_fields() -> Iterable[FieldSpec]:
    """Yield the settings that the form shows, in the order of the file."""
    for spec in get_fields():
        is_part = "[]" in spec.path or spec.path.count(".") > 1
        if not is_part and spec.path not in ELSEWHERE:
            yield spec
