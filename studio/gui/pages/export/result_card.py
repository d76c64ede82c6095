"""What an export wrote, whether it was proven right, and how to load it, or what to do then."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QSizePolicy, QWidget

from studio.core.units import format_things
from studio.gui.bridge.export_history import ExportRecord
from studio.gui.pages.export.give_panel import GivePanel
from studio.gui.pages.export.options import describe_options
from studio.gui.pages.export.snippets import NAMES, build_snippet, name_place
from studio.gui.pages.export.way_out import list_ways_out
from studio.gui.theme.fonts import build_mono_font
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.card import Card
from studio.gui.widgets.flow_row import FlowRow
from studio.gui.widgets.labels import Chip, ElidedLabel, PlainLabel, allow_breaks, plain_tooltip

_SHOWN_FILES = 12
_CODE_MARGINS = 40  # frame, padding and a horizontal scroll bar


class ResultCard(Card):
    """One finished export in full; hidden before. Files that failed get no command to load them.

    Signals:
        open_requested: The user wants to see this folder.
        upload_requested: The ``ExportRecord`` that shall go to the hub.
    """

    open_requested = Signal(str)
    upload_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._record: ExportRecord | None = None
        self._title = ElidedLabel("", "heading", mode=Qt.TextElideMode.ElideRight)
        self._title.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self._chip = Chip()
        self._place = ElidedLabel("", "muted")
        self._proof = PlainLabel("")
        self._files = PlainLabel("", "caption")
        self._code = QPlainTextEdit()
        self._code.setReadOnly(True)
        self._code.setFont(build_mono_font())
        self._code.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._code.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._code.setAccessibleName("Code that loads the export")
        self._show = Button("Open folder", "folder")
        self._show.clicked.connect(self._on_open_clicked)
        self._upload = Button("Upload…", "export")
        self._upload.setToolTip(
            plain_tooltip("Puts the files on the Hugging Face Hub, after a question.")
        )
        self._upload.clicked.connect(lambda: self.upload_requested.emit(self._record))
        self._copy = Button("Copy code", "copy")
        self._copy.clicked.connect(
            lambda: QGuiApplication.clipboard().setText(self._code.toPlainText())
        )
        top = QHBoxLayout()
        top.setSpacing(SIZES.m)
        top.addWidget(self._title)
        top.addWidget(self._chip)
        top.addStretch(1)
        actions = QWidget()
        row = FlowRow(actions)
        for button in (self._show, self._copy, self._upload):
            row.addWidget(button)
        self.body.setSpacing(SIZES.s)
        self.body.addLayout(top)
        for widget in (self._place, self._proof, self._files, actions):
            self.body.addWidget(widget)
        self._use = PlainLabel("", "overline", wraps=False)
        self._ways = PlainLabel("")
        for widget in (self._use, self._code, self._ways):
            self.body.addWidget(widget)
        self.give = GivePanel()
        self.body.addWidget(self.give)
        self.hide()

    def show_record(self, record: ExportRecord) -> None:
        """Shows one export."""
        self._record = record
        self.give.show_record(record)
        self._upload.setVisible(record.is_verified and record.target != "capsule")
        self._title.setText(f"{NAMES[record.target]} of {record.name}"[:80])
        self._chip.show_state(
            *(("Verified", "success") if record.is_verified else ("Failed", "error"))
        )
        self._proof.set_role("body" if record.is_verified else "error")
        self._place.setText(record.folder)
        self._proof.setText(describe_proof(record))
        shown = ", ".join(record.files[:_SHOWN_FILES])
        more = len(record.files) - _SHOWN_FILES
        count = format_things(len(record.files), "file")
        self._files.setText(f"{count}: {shown}{f' and {more} more' if more > 0 else ''}")
        self._show_next(record)
        self.show()

    def take_focus(self) -> None:
        """Lets keys go on here, and not to whatever stands after the button that was pressed."""
        self._show.setFocus(Qt.FocusReason.OtherFocusReason)

    def _show_next(self, record: ExportRecord) -> None:
        """Shows how to load the files; of files that must not be used what to do instead."""
        for widget in (self._code, self._copy):
            widget.setVisible(record.is_verified)
        self._ways.setVisible(not record.is_verified)
        if not record.is_verified:
            self._use.setText("What to do instead")
            steps = enumerate(list_ways_out(record), 1)
            self._ways.setText("\n".join(f"{place}. {allow_breaks(way)}" for place, way in steps))
            self._code.clear()
            return
        self._use.setText(name_place(record))
        is_command = "terminal" in name_place(record)
        self._copy.set_text_and_icon("Copy command" if is_command else "Copy code", "copy")
        self._code.setPlainText(build_snippet(record).rstrip())
        lines = self._code.document().blockCount()
        self._code.setFixedHeight(lines * self._code.fontMetrics().lineSpacing() + _CODE_MARGINS)

    def _on_open_clicked(self) -> None:
        if self._record is not None:
            self.open_requested.emit(self._record.folder)


def describe_proof(record: ExportRecord) -> str:
    """Returns what the check after writing found."""
    largest = record.largest_difference
    by = "" if largest is None else f" (largest difference {largest:.2g})"
    if record.is_verified and record.target == "capsule":
        return (
            "The capsule was read again: every file in it has the hash that its list names. Import "
            "it on the Runs page of any LoRA Studio."
        )
    if record.is_verified:
        asked = f" Asked: {record.prompts}." if record.prompts else ""
        asked += f" Changed for this export: {'; '.join(record.changes)}." if record.changes else ""
        asked += describe_options(record)
        return f"The files were loaded again and answer like the trained adapter{by}.{asked}"
    if record.reasons:
        return f"The files are not what was trained: {'; '.join(record.reasons)}. Do not use them."
    return (
        f"The files were loaded again and answer differently than the trained adapter{by}. "
        "Do not use them."
    )
