"""Between the survey's list of open places, the window that asks for words, and the draft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QWidget

from studio.core.events.survey import FileSide, OpenPlace
from studio.gui.forms.draft import Draft
from studio.gui.pages.data.places_dialog import PlacesDialog, join_places

_PATHS: dict[FileSide, str] = {"train": "data.train", "validation": "data.validation"}
_CODE = "unfilled_places"


class PlacesFiller(QObject):
    """Asks what stands in open places and writes it into the entries of the files concerned."""

    def __init__(self, draft: Draft, parent: QWidget) -> None:
        super().__init__(parent)
        self._draft = draft
        self._window = parent
        self._places: tuple[OpenPlace, ...] = ()

    def note_places(self, places: tuple[OpenPlace, ...]) -> None:
        """Notes which places there are; they stay known while the rows are looked at again."""
        self._places = places

    def open(self) -> None:
        """Opens the window for the places that were found last."""
        places = self._places
        if not places:
            return
        named = join_places(places, find_words(self._draft, places))
        dialog = PlacesDialog(named, self._window.window())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.words_chosen.connect(partial(self._on_words_chosen, places))
        dialog.leaving_out_chosen.connect(self._on_leaving_out_chosen)
        dialog.open()

    def _on_words_chosen(self, places: Sequence[OpenPlace], words: Mapping[str, str]) -> None:
        changes = build_changes(self._draft, places, words)
        if changes:
            self._draft.set_values(changes)

    def _on_leaving_out_chosen(self) -> None:
        codes = self._draft.get_value("data.leave_out")
        if _CODE not in codes:
            self._draft.set_value("data.leave_out", [*codes, _CODE])


def find_words(draft: Draft, places: Sequence[OpenPlace]) -> dict[str, str]:
    """Return the words that the draft has for the names of some places."""
    found: dict[str, str] = {}
    for place in places:
        entry = _find_entry(draft, place)
        words = {} if entry is None else entry.get("fill") or {}
        if place.name in words:
            found.setdefault(place.name, words[place.name])
    return found


def build_changes(
    draft: Draft, places: Sequence[OpenPlace], words: Mapping[str, str]
) -> dict[str, Any]:
    """Return the settings that put the words into the files in which the places are."""
    changes: dict[str, Any] = {}
    for place in places:
        path = _PATHS[place.files]
        entries = changes.get(path) or draft.get_value(path)
        if not isinstance(entries, list) or place.source >= len(entries):
            continue
        entry = dict(entries[place.source])
        others = {
            name: one for name, one in (entry.get("fill") or {}).items() if name != place.name
        }
        wanted = words.get(place.name, "")
        entry["fill"] = {**others, place.name: wanted} if wanted else others
        changes[path] = [*entries[: place.source], entry, *entries[place.source + 1 :]]
    return {path: one for path, one in changes.items() if one != draft.get_value(path)}


def _find_entry(draft: Draft, place: OpenPlace) -> Mapping[str, Any] | None:
    entries = draft.get_value(_PATHS[place.files])
    is_there = isinstance(entries, list) and place.source < len(entries)
    return entries[place.source] if is_there else None
