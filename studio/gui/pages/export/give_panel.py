"""What can be done with an export right away: make it a model of another program, upload it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QProgressBar, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.core.events.types import HandedOver, NoticeRaised, PushFinished
from studio.core.paths import slug
from studio.core.programs.words import describe_hand_over
from studio.core.units import format_bytes
from studio.gui.bridge.export_history import ExportRecord
from studio.gui.bridge.giving import Surroundings
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Line
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import PlainLabel, allow_breaks
from studio.gui.widgets.notice import Notice, Severity

_FULL = 1000
_NAME_WIDTH = 220
_SEVERITIES: dict[str, Severity] = {
    "same": "success",
    "similar": "success",
    "different": "warning",
    "none": "success",
}


class GivePanel(QWidget):
    """A line per program that takes the files, progress, and what came of it.

    Signals:
        give_requested: ``ollama`` or ``lm_studio``, the name there, and whether it may replace.
        look_requested: Look again which programs are there.
        stop_requested: End what is going on.
    """

    give_requested = Signal(str, str, bool)
    look_requested = Signal()
    stop_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = QLineEdit()
        self._name.setAccessibleName("Name of the model there")
        self._name.setFixedWidth(_NAME_WIDTH)
        self._ollama = Button("Create in Ollama", "plus")
        self._ollama.clicked.connect(lambda: self._give("ollama"))
        self._lm_studio = Button("Put into LM Studio", "plus")
        self._lm_studio.clicked.connect(lambda: self._give("lm_studio"))
        again = Button("Look again", kind="quiet")
        again.clicked.connect(self.look_requested)
        self._where = PlainLabel("", "caption")
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress of handing over")
        self._words = PlainLabel("", "muted")
        self._stop = Button("Stop", "stop")
        self._stop.clicked.connect(self.stop_requested)
        self._outcome = Notice()
        self._outcome.action_requested.connect(lambda: self._give("ollama", replaces=True))
        self._answers = PlainLabel("", "caption")
        self._ask = QWidget()
        ask = QVBoxLayout(self._ask)
        ask.setContentsMargins(0, 0, 0, 0)
        ask.setSpacing(SIZES.xs)
        ask.addWidget(Line())
        ask.addWidget(PlainLabel("Use it now", "overline", wraps=False))
        label = PlainLabel("Name", wraps=False)
        label.setBuddy(self._name)
        doors = QWidget()
        row = FlowRow(doors)
        for widget in (label, self._name, self._ollama, self._lm_studio, again):
            row.addWidget(widget)
        ask.addWidget(doors)
        ask.addWidget(self._where)
        self._progress = QWidget()
        line = QHBoxLayout(self._progress)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(SIZES.m)
        line.addWidget(self._stop)
        line.addWidget(self._bar, 1)
        line.addWidget(self._words, 1)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(SIZES.s)
        for part in (self._ask, self._progress, self._outcome, self._answers):
            box.addWidget(part)
        self._around = Surroundings()
        self._program = ""
        self._takes_ollama = self._takes_lm_studio = False
        self._progress.hide()
        self._answers.hide()

    def show_record(self, record: ExportRecord) -> None:
        """Shows what can be done with an export."""
        self._takes_ollama = record.is_verified and record.target == "ollama"
        self._takes_lm_studio = record.is_verified and record.target in ("gguf", "ollama")
        self._name.setText(slug(record.name).lower())
        self._outcome.clear()
        self._answers.hide()
        self._progress.hide()
        self._show_doors()

    def show_surroundings(self, around: Surroundings) -> None:
        """Shows which programs are there."""
        self._around = around
        self._show_doors()

    def show_progress(self, words: str, done_bytes: int, total_bytes: int) -> None:
        """Shows what is going on and how far it is."""
        self._outcome.clear()
        self._answers.hide()
        self._ask.setEnabled(False)
        self._progress.show()
        self._bar.setRange(0, _FULL if total_bytes else 0)
        if total_bytes:
            self._bar.setValue(round(done_bytes / total_bytes * _FULL))
            words = f"{words}: {format_bytes(done_bytes)} of {format_bytes(total_bytes)}"
        self._words.setText(words)

    def show_given(self, event: HandedOver, notice: NoticeRaised | None) -> None:
        """Shows what was made, and its first answer beside the expected one."""
        self._end()
        words = describe_hand_over(event)
        if notice is not None:
            self._outcome.show_message(
                "warning", words.message, f"{notice.message} {notice.remedy}"
            )
        else:
            self._outcome.show_message(_SEVERITIES[words.verdict], words.message, words.details)
        if event.question:
            lines = (
                f"Asked: {event.question}",
                f"Trained adapter: {event.expected.strip() or '(ends at once)'}",
                f"Ollama: {event.answer.strip() or '(ends at once)'}",
            )
            self._answers.setText(allow_breaks("\n".join(lines)))
            self._answers.show()

    def show_pushed(self, event: PushFinished) -> None:
        """Shows where the upload is."""
        self._end()
        self._outcome.show_message("success", "Everything is on the hub.", event.url)

    def show_failure(self, error: StudioError) -> None:
        """Shows why nothing was handed over, and offers to replace where a name was taken."""
        self._end()
        is_taken = error.code == "name_taken" and self._program == "ollama"
        self._outcome.show_error(error, "Replace it" if is_taken else "")

    def show_stopped(self) -> None:
        """Says that the user ended it."""
        self._end()
        self._outcome.show_message("note", "It was stopped.", "The exported files are unharmed.")

    def _end(self) -> None:
        self._progress.hide()
        self._ask.setEnabled(True)

    def _give(self, program: str, *, replaces: bool = False) -> None:
        self._program = program
        self.give_requested.emit(program, self._name.text().strip(), replaces)

    def _show_doors(self) -> None:
        around = self._around
        self._ask.setVisible(self._takes_ollama or self._takes_lm_studio)
        self._ollama.setVisible(self._takes_ollama)
        self._ollama.setEnabled(bool(around.ollama))
        self._lm_studio.setVisible(self._takes_lm_studio)
        self._lm_studio.setEnabled(around.models is not None)
        parts = []
        if self._takes_ollama:
            parts.append(around.ollama or around.problem)
        if self._takes_lm_studio and around.models is not None:
            parts.append(f"LM Studio keeps its models in {around.models}.")
        elif self._takes_lm_studio:
            parts.append("LM Studio's folder was not found; it can be chosen under Settings.")
        self._where.setText(allow_breaks("\n".join(part for part in parts if part)))
