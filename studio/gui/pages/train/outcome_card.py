"""How a run ended, what is saved, and what to do next."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.runs.record import RunRecord, Status
from studio.core.runs.words import describe_outcome
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.icon import Icon, Tone
from studio.gui.widgets.labels import PlainLabel, repolish

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
        compare_requested: Open Compare with this run's adapter.
        check_requested: See what this run's adapter made its base forget.
        export_requested: Open Export with this run's adapter.
    """

    resume_requested = Signal()
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
        self._compare = Button("Compare answers", "compare", "primary")
        self._check = Button("Forgetting", "search")
        self._check.setToolTip("Check what the base could do and no longer does")
        self._export = Button("Export", "export")
        self._resume.clicked.connect(self.resume_requested)
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
        row.addLayout(texts, 1)
        for button in (self._resume, self._compare, self._check, self._export):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
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
        self._compare.setVisible(has_adapter)
        self._check.setVisible(has_adapter)
        self._export.setVisible(has_adapter)
        self._compare.set_kind("normal" if record.is_resumable else "primary")
        self.setAccessibleName(f"{outcome.title}. {outcome.happened} {outcome.saved}")
