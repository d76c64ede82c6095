"""Which adapter is exported: the run or folder, and which of its checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QWidget

from studio.gui.bridge.adapter_choice import AdapterChoice, AdapterGroup
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.elided_choice import ElidedChoice
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, plain_tooltip

_LONGEST_NAME = 60
_HELP = (
    "Runs, saved mixes and imported adapters. A checkpoint is the adapter as it was at that step."
)


class SourceCard(Card):
    """A list of all adapters, a list of the checkpoints of the one chosen, any other folder.

    Signals:
        chosen: The ``AdapterChoice`` to export.
        folder_requested: The user wants to pick an adapter folder.
    """

    chosen = Signal(object)
    folder_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("1. Adapter", _HELP, parent)
        self._groups: list[AdapterGroup] = []
        self._versions: list[AdapterChoice] = []
        self._box = _build_box("Adapter", 20)
        self._box.activated.connect(lambda index: self.chosen.emit(self._groups[index].final))
        self._step = _build_box("Checkpoint", 14)
        self._step.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self._step.activated.connect(lambda index: self.chosen.emit(self._versions[index]))
        self._step_words = PlainLabel("Checkpoint", "muted", wraps=False)
        folder = Button("Other folder…", "folder")
        folder.clicked.connect(self.folder_requested)
        self._place = ElidedLabel("", "caption")
        row = QHBoxLayout()
        row.setSpacing(SIZES.s)
        row.addWidget(self._box, 1)
        row.addWidget(self._step_words)
        row.addWidget(self._step)
        row.addWidget(folder)
        self.body.addLayout(row)
        self.body.addWidget(self._place)

    def show_choices(self, groups: Sequence[AdapterGroup], chosen: AdapterChoice | None) -> None:
        """Shows the adapters there are, and which one at which step is chosen."""
        self._groups = list(groups)
        self._box.clear()
        for group in groups:
            name = group.final.name
            if len(name) > _LONGEST_NAME:
                name = f"{name[:_LONGEST_NAME]}…"
            base = f"  ·  {group.final.base_name}" if group.final.base else ""
            self._box.addItem(f"{name}{base}")
            self._box.setItemData(
                self._box.count() - 1,
                plain_tooltip(f"{group.final.name}{base}"),
                Qt.ItemDataRole.ToolTipRole,
            )
        owner = find_group_of(groups, chosen)
        self._box.setCurrentIndex(self._groups.index(owner) if owner is not None else -1)
        self._box.setToolTip(self._box.currentData(Qt.ItemDataRole.ToolTipRole) or "")
        self._box.setPlaceholderText("Choose an adapter" if groups else "No adapter yet")
        self._box.setEnabled(bool(groups))
        self._show_steps(owner, chosen)
        hint = "" if groups else "Train an adapter first, or choose the folder of one."
        self._place.setText(str(chosen.folder) if chosen is not None else hint)

    def _show_steps(self, group: AdapterGroup | None, chosen: AdapterChoice | None) -> None:
        self._versions = [] if group is None else [group.final, *group.checkpoints]
        self._step.clear()
        for version in self._versions:
            is_final = version.folder.name == "adapter" or version is self._versions[0]
            self._step.addItem("As finished" if is_final else _name_step(version.folder))
        if chosen in self._versions:
            self._step.setCurrentIndex(self._versions.index(chosen))
        for widget in (self._step, self._step_words):
            widget.setVisible(len(self._versions) > 1)


def find_group_of(
    groups: Sequence[AdapterGroup], choice: AdapterChoice | None
) -> AdapterGroup | None:
    """Returns the group that an adapter belongs to, as the finished one or as a checkpoint."""
    return next((one for one in groups if choice in (one.final, *one.checkpoints)), None)


def _name_step(folder: Path) -> str:
    return f"Step {int(folder.name.rpartition('-')[2]):,}"


def _build_box(name: str, letters: int) -> QComboBox:
    box = ElidedChoice()
    box.setAccessibleName(name)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setMinimumContentsLength(letters)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    return box
