"""Which base and which adapters stand side by side, and how strongly each adapter acts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, Signal

from studio.core.errors import AdapterUnusable, StudioError
from studio.core.weights.quantisable import BaseForm
from studio.gui.bridge.adapter_choice import AdapterChoice, check_base
from studio.gui.bridge.chat_link import ChatLink

BASE = "base"
MOST_ADAPTERS = 8


@dataclass(frozen=True)
class Column:
    """One column; ``choice`` is None for the base. ``strength`` 1 is the adapter as trained."""

    name: str
    choice: AdapterChoice | None = None
    strength: float = 1.0

    @property
    def title(self) -> str:
        """The name for people."""
        return "Base" if self.choice is None else self.name

    @property
    def folder(self) -> str:
        """The adapter's folder, empty for the base."""
        return "" if self.choice is None else str(self.choice.folder)


class LineUp(QObject):
    """Keeps the columns and passes every change on to the chat link.

    Signals:
        changed: Another base or other columns.
        strength_changed: The column with this name acts more or less strongly.
        base_wanted: This ``AdapterChoice`` was brought in, and its base is not here.
        refused: A choice cannot be compared, or only otherwise than it was trained; a
            ``StudioError``.
    """

    changed = Signal()
    strength_changed = Signal(str)
    base_wanted = Signal(object)
    refused = Signal(object)

    def __init__(self, link: ChatLink, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._link = link
        self._columns: dict[str, Column] = {BASE: Column(BASE)}
        self.base = ""
        link.column_refused.connect(self._on_link_column_refused)
        link.noticed.connect(self.refused)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns in their order, the base first; none without a base."""
        return tuple(self._columns.values()) if self.base else ()

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of all columns but the base."""
        return tuple(name for name in self._columns if name != BASE)

    def find(self, name: str) -> Column | None:
        """Returns the column of that name, None if it is not there any more."""
        return self._columns.get(name)

    def choose_base(self, base: str) -> None:
        """Compares with another base; adapters of other models leave."""
        if base == self.base:
            return
        self.base = base
        for name, column in list(self._columns.items()):
            try:
                if column.choice is not None:
                    check_base(column.choice, base)
            except AdapterUnusable as error:
                self._drop(name)
                self.refused.emit(error)
        self.reload()
        self.changed.emit()

    def reload(self) -> None:
        """Loads the base and all columns again."""
        if self.base:
            self._link.open(self.base)

    def hold_base(self, form: BaseForm) -> None:
        """Holds the base in another form, and loads it again if it is loaded."""
        self._link.set_form(form)
        if self._link.is_open:
            self.reload()

    def add(self, choice: AdapterChoice) -> None:
        """Adds an adapter; the first one brings its base along."""
        if any(column.folder == str(choice.folder) for column in self._columns.values()):
            return
        if choice.lacking_run:
            self.base_wanted.emit(choice)
            return
        try:
            self._check(choice)
        except StudioError as error:
            self.refused.emit(error)
            return
        self.base = self.base or choice.base
        name = self._find_free_name(choice.name)
        self._columns[name] = Column(name, choice)
        self._link.add(name, choice.folder)
        if not self._link.is_open:
            self._link.open(self.base)
        self.changed.emit()

    def remove(self, name: str) -> None:
        """Takes an adapter out."""
        if name != BASE and name in self._columns:
            self._drop(name)
            self.changed.emit()

    def set_strength(self, name: str, strength: float) -> None:
        """Lets an adapter act more or less strongly from the next answer on, 0 to 1.5."""
        column = self._columns.get(name)
        if column is not None and column.strength != strength:
            self._columns[name] = replace(column, strength=strength)
            self.strength_changed.emit(name)

    def _check(self, choice: AdapterChoice) -> None:
        if len(self._columns) > MOST_ADAPTERS:
            raise StudioError(
                f"There are {MOST_ADAPTERS} adapters beside the base already.",
                "Take one out to make room for another.",
                code="columns_full",
            )
        if not self.base and not choice.base:
            raise AdapterUnusable(
                f"The adapter {choice.name} does not say which base model it belongs to.",
                "Choose the base first, then add the adapter.",
            )
        check_base(choice, self.base)

    def _drop(self, name: str) -> None:
        del self._columns[name]
        self._link.remove(name)

    def _find_free_name(self, name: str) -> str:
        candidate, number = name, 2
        while candidate in self._columns:
            candidate, number = f"{name} ({number})", number + 1
        return candidate

    def _on_link_column_refused(self, name: str, error: StudioError) -> None:
        if self._columns.pop(name, None) is not None:
            self.refused.emit(error)
            self.changed.emit()
