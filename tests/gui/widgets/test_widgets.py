from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QLabel, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from studio.core.errors import FileUnusable
from studio.gui.widgets.choice_card import ChoiceCard
from studio.gui.widgets.drop_area import DropCatcher
from studio.gui.widgets.empty_state import EmptyState
from studio.gui.widgets.fold import Fold
from studio.gui.widgets.labels import ElidedLabel, PlainLabel, allow_breaks, plain_tooltip
from studio.gui.widgets.notice import Notice
from studio.gui.widgets.segmented import Segmented
from studio.gui.widgets.switch import Switch

FOREIGN = "<b>bold</b> <img src='file:///etc/passwd'> & more"


def test_foreign_text_stays_text(qtbot: QtBot) -> None:
    label = PlainLabel(FOREIGN)
    qtbot.addWidget(label)
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == FOREIGN


def test_no_label_of_a_notice_interprets_its_text(qtbot: QtBot) -> None:
    notice = Notice()
    qtbot.addWidget(notice)
    notice.show_error(FileUnusable(FOREIGN, FOREIGN))
    labels = notice.findChildren(QLabel)
    assert labels
    assert {label.textFormat() for label in labels} == {Qt.TextFormat.PlainText}
    notice.clear()
    assert notice.isHidden()


def test_tooltips_show_markup_as_it_is() -> None:
    assert "<b>" not in plain_tooltip(FOREIGN)
    assert "&lt;b&gt;" in plain_tooltip(FOREIGN)


def test_an_elided_label_keeps_its_whole_text(qtbot: QtBot) -> None:
    text = "/a/very/long/path/that/does/not/fit/into/forty/pixels"
    label = ElidedLabel(text)
    qtbot.addWidget(label)
    assert label.text() == text
    assert text in label.toolTip()
    assert label.minimumSizeHint().width() <= 60


@pytest.mark.parametrize("word", ["model.layers.0.mlp.down_proj", "/a/long/path/to/some/file.txt"])
def test_long_names_may_be_broken_and_nothing_is_lost(word: str) -> None:
    broken = allow_breaks(f"in {word} here")
    assert "\u200b" in broken
    assert broken.replace("\u200b", "") == f"in {word} here"


def test_a_narrow_label_grows_in_height(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    empty = EmptyState("data", "Nothing here", "A sentence that is long. " * 6, "Go")
    box = QVBoxLayout(window)
    box.addWidget(empty)
    window.resize(420, 500)
    window.show()
    qtbot.waitExposed(window)
    label = next(one for one in empty.findChildren(PlainLabel) if "sentence" in one.text())
    assert label.height() >= label.heightForWidth(label.width())


def test_an_empty_state_offers_one_thing_to_do(qtbot: QtBot) -> None:
    empty = EmptyState("data", "Nothing here", "Do this.", "Go")
    qtbot.addWidget(empty)
    with qtbot.waitSignal(empty.action_requested):
        qtbot.mouseClick(empty._action, Qt.MouseButton.LeftButton)


@pytest.mark.parametrize("key", [Qt.Key.Key_Space, Qt.Key.Key_Return])
def test_a_card_is_chosen_by_keyboard(qtbot: QtBot, key: Qt.Key) -> None:
    card = ChoiceCard("Balanced", "A good start.")
    qtbot.addWidget(card)
    with qtbot.waitSignal(card.chosen):
        qtbot.keyClick(card, key)


def test_a_card_says_that_it_is_in_use(qtbot: QtBot) -> None:
    card = ChoiceCard("Balanced", "A good start.")
    qtbot.addWidget(card)
    card.show_chosen(True)
    assert card.accessibleName() == "Balanced. A good start. In use."


def test_a_fold_says_whether_it_is_open(qtbot: QtBot) -> None:
    fold = Fold("Advanced settings")
    qtbot.addWidget(fold)
    with qtbot.waitSignal(fold.toggled) as told:
        fold._button.click()
    assert told.args == [True]
    assert fold._button.accessibleDescription() == "Advanced settings: shown"


def test_a_switch_is_toggled_with_space(qtbot: QtBot) -> None:
    switch = Switch("Pack examples")
    qtbot.addWidget(switch)
    qtbot.keyClick(switch, Qt.Key.Key_Space)
    assert switch.isChecked()


def test_exactly_one_of_the_segments_holds(qtbot: QtBot) -> None:
    segments = Segmented("Theme", (("light", "Light", ""), ("dark", "Dark", "")))
    qtbot.addWidget(segments)
    segments.show_value("light")
    with qtbot.waitSignal(segments.chosen) as told:
        segments._buttons["dark"].click()
    assert told.args == ["dark"]
    assert not segments._buttons["light"].isChecked()


def test_dropped_files_are_told_as_paths(qtbot: QtBot, tmp_path: Path) -> None:
    target = QWidget()
    qtbot.addWidget(target)
    catcher = DropCatcher(target, "Drop here")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "rows 1.jsonl")), QUrl("https://a.test/b")])
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0)
    enter = QDragEnterEvent(QPoint(1, 1), copy, mime, left, none)
    QApplication.sendEvent(target, enter)
    assert enter.isAccepted()
    drop = QDropEvent(QPointF(1, 1), copy, mime, left, none)
    with qtbot.waitSignal(catcher.paths_dropped) as told:
        QApplication.sendEvent(target, drop)
    assert told.args == [[str(tmp_path / "rows 1.jsonl")]]
    assert catcher._veil.isHidden()
