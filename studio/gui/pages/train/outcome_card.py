"""How a run ended, what is saved, and what to do next."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.runs.record import RunRecord, Status
from studio.core.runs.words import describe_outcome
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.icon import Icon, Tone
from studio.gui.widgets.labels import PlainLabel, repolish

_NARROW = 900
_LOOKS: dict[Status, tuple[str, Tone]] = {
    "finished": ("success", "success"),
    "stopped": ("note", "warning"),
    "failed": ("error", "error"),
    "interrupted": ("warning", "error"),
}


class OutcomeCard(QFrame):
    """A coloured card at the end of a run; hidden before.

    Signals:
        resume_requested: Go on from the last checkpoint.
        change_requested: Take the run's recipe over into the form, to try it otherwise.
        compare_requested: Open Compare with this run's adapter.
        check_requested: See what this run's adapter made its base forget.
        export_requested: Open Export with this run's adapter.
    """

    resume_requested = Signal()
    change_requested = Signal()
    compare_requested = Signal()
    check_requested = Signal()
    export_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon = Icon("success", "success", 24)
        self._title = PlainLabel("", "heading", wraps=False)
        self._happened = PlainLabel()
        self._happened.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._resume = Button("Resume", "play", "primary")
        self._change = Button("Change settings", "recipe")
        self._change.setToolTip("Start a new run with the same recipe, changed as you like")
        self._compare = Button("Compare answers", "compare", "primary")
        self._check = Button("Forgetting", "search")
        self._check.setToolTip("Check what the base could do and no longer does")
        self._export = Button("Export", "export")
        self._resume.clicked.connect(self.resume_requested)
        self._change.clicked.connect(self.change_requested)
        self._compare.clicked.connect(self.compare_requested)
        self._check.clicked.connect(self.check_requested)
        self._export.clicked.connect(self.export_requested)
        texts = QVBoxLayout()
        texts.setSpacing(2)
        for label in (self._title, self._happened):
            texts.addWidget(label)
        row = QHBoxLayout(self)
        row.setContentsMargins(SIZES.l, SIZES.m, SIZES.l, SIZES.m)
        row.setSpacing(SIZES.m)
        row.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        self._buttons = (self._resume, self._change, self._compare, self._check, self._export)
        buttons = QHBoxLayout()
        buttons.setSpacing(SIZES.m)
        for button in self._buttons:
            buttons.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
        buttons.addStretch(1)
        self._inner = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._inner.setSpacing(SIZES.m)
        self._inner.addLayout(texts, 1)
        self._inner.addLayout(buttons)
        row.addLayout(self._inner, 1)
        self.hide()

    def show_record(self, record: RunRecord) -> None:
        """Shows how the run ended, or hides while it has not."""
        outcome = describe_outcome(record)
        self.setVisible(outcome is not None)
        if outcome is None:
            return
        kind, tone = _LOOKS[record.status]
        self.setProperty(
            "kind", {"stopped": "warning", "interrupted": "error"}.get(record.status, kind)
        )
        repolish(self)
        self._icon.show_icon(kind, tone)
        self._title.setText(outcome.title)
        self._happened.setText(f"{outcome.happened} {outcome.saved}".strip())
        has_adapter = record.adapter_folder is not None
        self._resume.setVisible(record.is_resumable)
        self._change.setVisible(record.status == "failed" and record.kind == "train")
        self._compare.setVisible(has_adapter)
        self._check.setVisible(has_adapter)
        self._export.setVisible(has_adapter)
        self._compare.set_kind("normal" if record.is_resumable else "primary")
        self.setAccessibleName(f"{outcome.title}. {outcome.happened} {outcome.saved}")
        self._make_room()

    def take_focus(self) -> bool:
        """Gives the keyboard to the first button; False where there is none."""
        offered = [button for button in self._buttons if not button.isHidden()]
        if not offered or self.isHidden():
            return False
        offered[0].setFocus(Qt.FocusReason.OtherFocusReason)
        return True

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 - Qt's name
        """Puts the buttons below the text where both would be cramped side by side."""
        super().resizeEvent(event)
        self._make_room()

    def _make_room(self) -> None:
        many = sum(not button.isHidden() for button in self._buttons) > 2
        way = QBoxLayout.Direction
        is_narrow = many and self.width() < _NARROW
        self._inner.setDirection(way.TopToBottom if is_narrow else way.LeftToRight)
