"""The editor that fits a setting, chosen from its kind alone."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QWidget

from studio.core.recipe.fields import FieldSpec
from studio.gui.forms.editors.base import Editor
from studio.gui.forms.editors.choices import ChoiceEditor, ChoiceOrNamesEditor, SwitchEditor
from studio.gui.forms.editors.lists import OverridesEditor, ShareOrFilesEditor
from studio.gui.forms.editors.numbers import (
    AutomaticEditor,
    IntegerEditor,
    LogNumberEditor,
    NumberEditor,
    PercentEditor,
)
from studio.gui.forms.editors.texts import (
    FolderEditor,
    LinesEditor,
    MappingEditor,
    SuggestionEditor,
    TextEditor,
)

_LOG_BELOW = 0.01
_AUTO_STARTS = {"max_tokens": 1024, "micro_batch_tokens": 4096, "rank": 16}
_SUGGESTIONS = {
    "device": ("auto", "cpu", "cuda:0"),
    "template": ("auto", "plain"),
    "layers": ("all",),
}

_SIMPLE: dict[str, Callable[[FieldSpec, QWidget | None], Editor]] = {
    "boolean": SwitchEditor,
    "choice": ChoiceEditor,
    "choice_or_list": ChoiceOrNamesEditor,
    "section_or_list": ShareOrFilesEditor,
    "section_list": OverridesEditor,
    "text_list": LinesEditor,
    "mapping": MappingEditor,
    "file": FolderEditor,
    "folder": FolderEditor,
}


def build_editor(spec: FieldSpec, parent: QWidget | None = None) -> Editor:
    """Return an editor for a setting of the recipe."""
    if spec.kind in ("integer", "number"):
        return _build_number_editor(spec, parent)
    if spec.kind in _SUGGESTIONS:
        return SuggestionEditor(spec, _SUGGESTIONS[spec.kind], parent)
    if spec.kind == "auto_count":
        start = _AUTO_STARTS.get(spec.name, 50)
        word = "Automatic" if spec.word == "auto" else spec.word.capitalize()
        return AutomaticEditor(spec, word, spec.word, parent, start=start)
    return _SIMPLE.get(spec.kind, TextEditor)(spec, parent)


def _build_number_editor(spec: FieldSpec, parent: QWidget | None) -> Editor:
    if spec.is_optional:
        return AutomaticEditor(spec, "Not set", None, parent)
    if spec.kind == "integer":
        return IntegerEditor(spec, parent)
    if spec.name.endswith("fraction"):
        return PercentEditor(spec, parent)
    if isinstance(spec.default, float) and 0 < spec.default < _LOG_BELOW:
        return LogNumberEditor(spec, parent)
    return NumberEditor(spec, parent)
