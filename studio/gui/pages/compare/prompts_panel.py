"""Saved sets of prompts: choose one, ask all of it, bring sets in and out."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QListWidget, QVBoxLayout, QWidget

from studio.core.compare.prompts import Conversation
from studio.core.units import format_things
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Line, build_row
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import PlainLabel
from studio.gui.widgets.notice import Notice

_PREVIEW_ROWS = 4


class PromptsPanel(QWidget):
    """Shows what it is told; wishes go out as signals with the name of a set.

    Signals:
        chosen: The user looks at this set.
        ask_requested: All prompts of this set are to be asked.
        export_requested: This set is to be written to a file.
        remove_requested: This set is to be deleted.
        import_requested: A file is to become a set.
        save_requested: The prompts of this visit are to become a set of this name.
    """

    chosen = Signal(str)
    ask_requested = Signal(str)
    export_requested = Signal(str)
    remove_requested = Signal(str)
    import_requested = Signal()
    save_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.notice = Notice()
        self._none = PlainLabel(
            "A set is a list of prompts that you ask again and again, for example after each run. "
            "Save the prompts of this page below, or bring a JSONL file.",
            "muted",
        )
        self._list = QListWidget()
        self._list.setAccessibleName("Saved sets")
        self._list.currentTextChanged.connect(self._on_list_current_text_changed)
        self._preview = PlainLabel("", "caption")
        self._ask = Button("Ask all", "play")
        self._ask.clicked.connect(lambda: self.ask_requested.emit(self.current))
        self._export = Button("Export", "export")
        self._export.setToolTip("Writes the set as JSONL, one prompt per line")
        self._export.clicked.connect(lambda: self.export_requested.emit(self.current))
        self._remove = Button("Delete", "trash")
        self._remove.clicked.connect(lambda: self.remove_requested.emit(self.current))
        load = Button("Import JSONL…", "folder")
        load.clicked.connect(self.import_requested)
        self._name = QLineEdit()
        self._name.setPlaceholderText("Name of a new set")
        self._name.setAccessibleName("Name of a new set")
        self._name.textChanged.connect(lambda: self._enable())
        self._name.returnPressed.connect(self._on_save_clicked)
        self._save = Button("Save", "check")
        self._save.setAccessibleName("Save the prompts of this page as a set")
        self._save.clicked.connect(self._on_save_clicked)
        self._can_save = self._can_ask = False
        self._tools = QWidget()
        flow = FlowRow(self._tools)
        for widget in (self._ask, self._export, self._remove):
            flow.addWidget(widget)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, SIZES.s, SIZES.s)
        box.setSpacing(SIZES.s)
        parts: tuple[QWidget, ...] = (self.notice, self._none, load, self._list)
        for part in (*parts, self._preview, self._tools):
            box.addWidget(part, 100 if part is self._list else 0)
        box.addStretch(1)
        box.addWidget(Line())
        box.addWidget(PlainLabel("Keep the prompts of this page", "strong"))
        row = build_row(self._name, self._save, stretches=False)
        box.addLayout(row)
        self._enable()

    @property
    def current(self) -> str:
        """The name of the set that is chosen, empty without one."""
        item = self._list.currentItem()
        return "" if item is None else item.text()

    def show_sets(self, names: Sequence[str], current: str = "") -> None:
        """Lists sets and chooses one of them."""
        wanted = current or self.current
        self._list.clear()
        self._list.addItems(list(names))
        self._none.setVisible(not names)
        self._list.setVisible(bool(names))
        if names:
            self._list.setCurrentRow(list(names).index(wanted) if wanted in names else 0)
        self._enable()

    def show_preview(self, prompts: Sequence[Conversation]) -> None:
        """Shows how many prompts the chosen set has, and the first ones."""
        lines = [format_things(len(prompts), "prompt")]
        lines += [f"· {_shorten(turns[-1].content)}" for turns in prompts[:_PREVIEW_ROWS]]
        self._preview.setText("\n".join(lines))

    def show_state(self, *, can_ask: bool, can_save: bool) -> None:
        """Says whether there is somebody to ask, and whether there are prompts to keep."""
        self._can_ask, self._can_save = can_ask, can_save
        self._enable()

    def _enable(self) -> None:
        has_set = bool(self.current)
        self._tools.setVisible(has_set)
        self._ask.setEnabled(has_set and self._can_ask)
        self._export.setEnabled(has_set)
        self._remove.setEnabled(has_set)
        self._save.setEnabled(self._can_save and bool(self._name.text().strip()))
        self._preview.setVisible(has_set)

    def _on_list_current_text_changed(self, name: str) -> None:
        self._enable()
        if name:
            self.chosen.emit(name)

    def _on_save_clicked(self) -> None:
        if self._save.isEnabled():
            self.save_requested.emit(self._name.text().strip())
            self._name.clear()


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
