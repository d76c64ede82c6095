"""The last net: a mistake of ours in a slot is logged to a file and shown with a copy button."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QPlainTextEdit, QVBoxLayout, QWidget

from studio.core.errors import StudioError
from studio.gui.theme.fonts import build_mono_font
from studio.gui.theme.tokens import SIZES
from studio.gui.widgets.buttons import Button
from studio.gui.widgets.labels import PlainLabel

_log = logging.getLogger(__name__)


class CrashNet(QObject):
    """Catches exceptions that nothing else caught, from every thread.

    Signals:
        caught: The exception, on the thread of the net.
    """

    caught = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._old_hook = sys.excepthook
        self._old_thread_hook = threading.excepthook

    def install(self) -> None:
        """Puts the net under the program; ``remove`` takes it away again."""
        sys.excepthook = self._on_exception
        threading.excepthook = self._on_thread_exception

    def remove(self) -> None:
        """Takes the net away."""
        sys.excepthook = self._old_hook
        threading.excepthook = self._old_thread_hook

    def _on_exception(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            self._old_hook(kind, error, trace)
            return
        _log.error("unexpected error", exc_info=(kind, error, trace))
        self.caught.emit(error)

    def _on_thread_exception(self, arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            self._on_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)


class CrashDialog(QDialog):
    """Says that something went wrong, with the details to copy."""

    def __init__(self, error: BaseException, log_path: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Something went wrong")
        self.setMinimumSize(560, 380)
        self._text = "".join(traceback.format_exception(error))
        title, remedy = describe(error)
        details = QPlainTextEdit(self._text)
        details.setReadOnly(True)
        details.setFont(build_mono_font())
        details.setAccessibleName("Technical details")
        buttons = QDialogButtonBox()
        copy = Button("&Copy details", "copy")
        copy.clicked.connect(self._on_copy_clicked)
        close = Button("C&lose", kind="primary")
        close.clicked.connect(self.accept)
        buttons.addButton(copy, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.addButton(close, QDialogButtonBox.ButtonRole.AcceptRole)
        box = QVBoxLayout(self)
        box.setContentsMargins(SIZES.xl, SIZES.l, SIZES.xl, SIZES.l)
        box.setSpacing(SIZES.m)
        box.addWidget(PlainLabel(title, "heading"))
        box.addWidget(PlainLabel(remedy, "muted"))
        box.addWidget(details, 1)
        box.addWidget(PlainLabel(f"Also written to {log_path}", "caption"))
        box.addWidget(buttons)
        close.setFocus(Qt.FocusReason.OtherFocusReason)

    def _on_copy_clicked(self) -> None:
        QGuiApplication.clipboard().setText(self._text)


def describe(error: BaseException) -> tuple[str, str]:
    """Return a title and what to do about an error, in words for people."""
    if isinstance(error, StudioError):
        return error.message, error.remedy
    return (
        "The window made a mistake.",
        "Runs that are training are not affected: they have a process of their own. You can go on "
        "working. If it happens again, please report it with the details below.",
    )


def connect_dialog(net: CrashNet, get_parent: Callable[[], QWidget | None], log_path: str) -> None:
    """Shows a dialog for each caught error, one at a time."""
    open_dialogs: list[CrashDialog] = []

    def show(error: BaseException) -> None:
        if open_dialogs:
            return
        dialog = CrashDialog(error, log_path, get_parent())
        open_dialogs.append(dialog)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.finished.connect(lambda _code: open_dialogs.clear())
        dialog.open()

    net.caught.connect(show)
