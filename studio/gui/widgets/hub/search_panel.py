"""The left side of the hub dialog: a search line, what was found, and what is here already."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.hub.client import HubEntry
from studio.core.hub.names import Repository, RepositoryKind, find_repository
from studio.core.units import format_count
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.two_line_list import ListEntry, TwoLineList

_DELAY_MS = 450
_WIDTH = 340
_THINGS = {"model": "models", "dataset": "data sets"}


class HubSearchPanel(QWidget):
    """Asks for a search some time after the last key, or at once on Return.

    Signals:
        search_requested: Search for this text; empty means the most used ones.
        repository_selected: The user wants to know more of this ``Repository``.
    """

    search_requested = Signal(str)
    repository_selected = Signal(object)

    def __init__(self, kind: RepositoryKind, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(_WIDTH)
        self._kind = kind
        self._kept: list[Repository] = []
        self._chosen = ""
        self._found: list[HubEntry] | None = None
        self._line = QLineEdit()
        self._line.setPlaceholderText(f"Search {_THINGS[kind]}, or owner/name")
        self._line.setAccessibleName(f"Search {_THINGS[kind]} on the hub")
        self._line.setClearButtonEnabled(True)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_DELAY_MS)
        self._timer.timeout.connect(self._ask)
        self._line.textEdited.connect(lambda _: self._timer.start())
        self._line.returnPressed.connect(self._ask)
        self._list = TwoLineList(f"Found {_THINGS[kind]}")
        self._list.entry_selected.connect(self._on_entry_selected)
        self._state = PlainLabel("", "caption")
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        box.addWidget(self._line)
        box.addWidget(self._list, 1)
        box.addWidget(self._state)

    @property
    def text(self) -> str:
        """What is looked for."""
        return self._line.text().strip()

    def focus_line(self) -> None:
        """Puts the cursor into the search line."""
        self._line.setFocus()

    def show_searching(self) -> None:
        """Says that a search goes on; what was found before stays to be looked at."""
        self._state.setText("Asking the hub …")

    def show_found(self, entries: Sequence[HubEntry]) -> None:
        """Shows what the hub found."""
        self._found = list(entries)
        self._refresh()
        if entries:
            self._state.setText("Sorted by downloads." if self.text else "The most used ones.")
        else:
            self._state.setText("Nothing found. Try fewer or other words.")

    def show_kept(self, repositories: Sequence[Repository]) -> None:
        """Shows what lies on this machine already, above what the hub found."""
        self._kept = list(repositories)
        self._refresh()

    def show_offline(self) -> None:
        """Shows only what lies on this machine; the dialog itself says why."""
        self._found = None
        self._line.setEnabled(False)
        self._refresh()
        self._state.setText("Only what is on this machine is listed.")

    def show_error(self, error: StudioError) -> None:
        """Shows why the search failed."""
        self._found = None
        self._refresh()
        self._state.setText(str(error))

    def close_timer(self) -> None:
        """Drops a search that was about to start."""
        self._timer.stop()

    def _ask(self) -> None:
        self._timer.stop()
        self.search_requested.emit(self.text)

    def _on_entry_selected(self, entry: ListEntry) -> None:
        self._chosen = entry.key
        self.repository_selected.emit(entry.thing)

    def _refresh(self) -> None:
        text = self.text.lower()
        kept = {one.name: one for one in self._kept if text in one.name.lower()}
        entries = [
            ListEntry(name, name, "On this machine already", one) for name, one in kept.items()
        ]
        entries += [
            ListEntry(
                entry.repository.name,
                entry.repository.name,
                describe_entry(entry),
                entry.repository,
            )
            for entry in self._found or ()
            if entry.repository.name not in kept
        ]
        entries += self._build_direct({entry.key for entry in entries})
        self._list.show_entries(entries, self._chosen)

    def _build_direct(self, listed: set[str]) -> list[ListEntry]:
        """Return the entry for a name that was typed in full and that no search shows."""
        named = find_repository(self.text, self._kind) if "/" in self.text else None
        if named is None or named.kind != self._kind or named.name in listed:
            return []
        return [ListEntry(named.name, named.name, "Look at exactly this one", named)]


def describe_entry(entry: HubEntry) -> str:
    """Return one line about a search result."""
    parts = (
        f"{format_count(entry.parameters)} parameters" if entry.parameters else "",
        f"{format_count(entry.downloads)} downloads",
        entry.licence,
        "conditions to accept" if entry.is_gated else "",
    )
    return ", ".join(part for part in parts if part)
