"""Files dropped anywhere on the window open the right page; what is strange is told in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QMessageBox, QWidget
from pytestqt.qtbot import QtBot

from studio.core.recipe.save import save_recipe
from studio.gui.app import Studio
from studio.gui.pages.runs.page import RunsPage
from studio.gui.widgets.drop_area import DropCatcher
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import build_recipe

COPY, LEFT = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
NONE = Qt.KeyboardModifier.NoModifier


class Hand:
    """Drags things over the window and lets them go."""

    def __init__(self, studio: Studio, qtbot: QtBot) -> None:
        self.desk = studio.window._drops
        self.catcher = self.desk._catcher
        self._target: QWidget = studio.window.centralWidget()
        self._qtbot = qtbot

    def carry(self, *paths: Path) -> QMimeData:
        self._mime = QMimeData()  # events only point to it
        self._mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        return self._mime

    def enter(self, *paths: Path) -> None:
        mime = self.carry(*paths)
        event = QDragEnterEvent(QPoint(400, 300), COPY, mime, LEFT, NONE)
        QApplication.sendEvent(self._target, event)
        assert event.isAccepted()
        assert self.catcher.is_hovered

    def hover(self, *paths: Path) -> tuple[str, str]:
        """Returns the words of the overlay."""
        self.enter(*paths)
        self._qtbot.waitUntil(lambda: self.desk._arrivals is not None)
        veil = self.catcher._veil
        return veil._title.text(), veil._words.text().replace("\u200b", "")

    def let_go(self, *paths: Path) -> None:
        event = QDropEvent(QPointF(400, 300), COPY, self.carry(*paths), LEFT, NONE)
        QApplication.sendEvent(self._target, event)
        assert event.isAccepted()
        assert not self.catcher.is_hovered

    def leave(self) -> None:
        QApplication.sendEvent(self._target, QDragLeaveEvent())


@pytest.fixture
def hand(studio: Studio, qtbot: QtBot) -> Hand:
    studio.window.show_page("settings")
    studio.window.show()
    return Hand(studio, qtbot)


def write(path: Path, text: str = '{"prompt": "a", "completion": "b"}\n') -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_data_is_added_and_the_data_page_opens(
    studio: Studio, hand: Hand, qtbot: QtBot, tmp_path: Path
) -> None:
    first, second = write(tmp_path / "rows.jsonl"), write(tmp_path / "more.csv", "q,a\n1,2\n")
    assert hand.hover(first) == ("Use as training data", "rows.jsonl")
    hand.let_go(first)
    assert studio.window.page_key == "data"
    assert studio.context.draft.get_value("data.train") == [{"source": str(first)}]
    studio.window.show_page("home")
    assert hand.hover(second)[0] == "Add to the training data"
    hand.leave()
    assert not hand.catcher.is_hovered
    hand.enter(second)
    hand.let_go(second)  # before anybody knew what it is
    qtbot.waitUntil(lambda: studio.window.page_key == "data")
    assert len(studio.context.draft.get_value("data.train")) == 2


def test_a_model_becomes_the_base_and_data_beside_it_is_used_too(
    studio: Studio, hand: Hand, qtbot: QtBot, material: Path, tmp_path: Path
) -> None:
    model, rows = material / "models" / "stories260K-hf", write(tmp_path / "rows.jsonl")
    assert hand.hover(model)[0] == "Open as base model"
    hand.let_go(model)
    assert studio.window.page_key == "model"
    assert studio.context.draft.get_value("base.model") == str(model)
    assert hand.hover(model, rows)[0] == "Open as base model · Use as training data"
    hand.let_go(model, rows)
    assert studio.window.page_key == "data"


def test_an_adapter_becomes_a_run(
    studio: Studio, hand: Hand, qtbot: QtBot, play: Play, tmp_path: Path
) -> None:
    play("import")
    adapter = tmp_path / "pirate"
    adapter.mkdir()
    write(adapter / "adapter_config.json", "{}")
    assert hand.hover(adapter)[0] == "Import as run"
    hand.let_go(adapter)
    assert studio.window.page_key == "runs"
    page = studio.window.get_page("runs")
    assert isinstance(page, RunsPage)
    qtbot.waitUntil(lambda: page._table.model().rowCount() == 1, timeout=TIMEOUT_MS)


def test_a_recipe_is_opened(studio: Studio, hand: Hand, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "talk.yaml"
    save_recipe(build_recipe("talk", tmp_path / "files"), path)
    hand.hover(path)
    hand.let_go(path)
    qtbot.waitUntil(lambda: studio.window.page_key == "recipe")
    assert studio.context.draft.get_value("name") == "talk"


def test_what_cannot_be_opened_is_told(
    studio: Studio, hand: Hand, qtbot: QtBot, tmp_path: Path
) -> None:
    title, words = hand.hover(write(tmp_path / "letter.docx"))
    assert title == "This cannot be opened here"
    assert words.startswith("letter.docx is of a kind that cannot be opened here.")
    hand.let_go(tmp_path / "letter.docx")
    (box,) = studio.window.findChildren(QMessageBox)
    assert "letter.docx" in box.text()
    assert "JSONL" in box.informativeText()
    assert studio.window.page_key == "settings"
    box.close()


def test_on_the_comparison_only_adapters_are_taken_by_the_page(
    studio: Studio, hand: Hand, tmp_path: Path
) -> None:
    page = studio.window.get_page("compare")
    studio.window.show_page("compare")
    (catcher,) = page.findChildren(DropCatcher)
    taken = []
    for path in (tmp_path / "pirate", tmp_path / "rows.jsonl", tmp_path / "a.zip"):
        event = QDragEnterEvent(QPoint(9, 9), COPY, hand.carry(path), LEFT, NONE)
        QApplication.sendEvent(page, event)
        taken.append((catcher.is_hovered, hand.catcher.is_hovered))
        QApplication.sendEvent(page, QDragLeaveEvent())
    assert taken == [(True, False), (False, True), (False, True)]


def test_a_text_field_takes_no_files_but_text(studio: Studio, hand: Hand, tmp_path: Path) -> None:
    page = studio.window.get_page("runs")
    studio.window.show_page("runs")
    assert isinstance(page, RunsPage)
    for mime, is_over_window in ((hand.carry(tmp_path / "a.jsonl"), True), (QMimeData(), False)):
        mime.setText("a text")
        event = QDragEnterEvent(QPoint(3, 3), COPY, mime, LEFT, NONE)
        QApplication.sendEvent(page._search, event)
        assert event.isAccepted()
        assert hand.catcher.is_hovered == is_over_window
        QApplication.sendEvent(studio.window.centralWidget(), QDragLeaveEvent())
