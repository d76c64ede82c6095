from __future__ import annotations

import sys
import threading

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPlainTextEdit
from pytestqt.qtbot import QtBot

from studio.core.errors import DiskFull
from studio.gui.app import Studio
from studio.gui.crash import CrashDialog, CrashNet, connect_dialog, describe
from studio.gui.widgets.buttons import Button


def test_the_dialog_shows_and_copies_what_happened(qtbot: QtBot) -> None:
    try:
        raise ValueError("seven <b>is</b> not eight")
    except ValueError as error:
        dialog = CrashDialog(error, "/home/someone/window.log")
    qtbot.addWidget(dialog)
    assert "seven <b>is</b> not eight" in dialog.findChild(QPlainTextEdit).toPlainText()
    copy = next(b for b in dialog.findChildren(Button) if "Copy" in b.text())
    copy.click()
    assert "Traceback" in QGuiApplication.clipboard().text()


def test_an_expected_failure_is_told_in_its_own_words() -> None:
    assert describe(DiskFull("No space.", "Free some.")) == ("No space.", "Free some.")


def test_exceptions_of_threads_reach_the_net(qtbot: QtBot) -> None:
    net = CrashNet()
    net.install()

    def fail() -> None:
        raise RuntimeError("in a thread")

    try:
        thread = threading.Thread(target=fail)
        with qtbot.waitSignal(net.caught) as caught:
            thread.start()
        thread.join()
    finally:
        net.remove()
    assert str(caught.args[0]) == "in a thread"


def test_only_one_dialog_is_open_at_a_time(studio: Studio, qtbot: QtBot) -> None:
    net = CrashNet()
    connect_dialog(net, lambda: studio.window, "window.log")
    studio.window.show_page("settings")
    studio.window.show()
    for number in range(3):
        net._on_exception(ValueError, ValueError(str(number)), None)
    dialogs = studio.window.findChildren(CrashDialog)
    assert len(dialogs) == 1
    dialogs[0].accept()


def test_removing_the_net_restores_the_old_hook() -> None:
    before = sys.excepthook
    net = CrashNet()
    net.install()
    net.remove()
    assert sys.excepthook == before
