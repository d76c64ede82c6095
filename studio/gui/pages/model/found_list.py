"""The list of models on this machine: name, kind, size, and why some cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.core.units import format_bytes, format_count
from studio.core.weights.local import FoundModel
from studio.core.weights.stored import STORED_WORDS
from studio.gui.widgets.two_line_list import ListEntry, TwoLineList


class FoundList(TwoLineList):
    """The list itself.

    Signals:
        model_selected: The user chose this ``FoundModel``, usable or not.
    """

    model_selected = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Models on this machine", parent)
        self.entry_selected.connect(lambda entry: self.model_selected.emit(entry.thing))

    def show_models(self, models: Sequence[FoundModel], reference: str) -> None:
        """Shows models and marks the one that a recipe calls ``reference``."""
        self.show_entries([_build_entry(model) for model in models], reference)


def _build_entry(model: FoundModel) -> ListEntry:
    return ListEntry(
        model.reference,
        model.name,
        describe_model_line(model),
        model,
        hint=f"{model.folder}\n{model.problem} {model.remedy}".strip(),
        is_faded=not model.is_usable,
    )


def describe_model_line(model: FoundModel) -> str:
    """Return one line about a model: kind, parameters and size, or why it cannot be used."""
    if not model.is_usable:
        return model.problem.replace(f"{model.folder}", "The folder")
    kind = shorten_architecture(model.architecture)
    size = format_bytes(model.size_bytes)
    if model.stored != "none":
        size += f" in {STORED_WORDS[model.stored]}"
    parts = [kind, f"{format_count(model.parameters)} parameters", size]
    return ", ".join(part for part in parts if part)


def shorten_architecture(name: str) -> str:
    """Return the name of an architecture without what all language models share."""
    return name.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
