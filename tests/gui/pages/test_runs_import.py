"""What was trained elsewhere is brought in by a button or by dropping, and used like any run."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from studio.core.events.types import ImportFinished, NoticeRaised
from studio.gui.app import Studio
from studio.gui.pages.runs.import_desk import describe_import
from studio.gui.pages.runs.page import RunsPage
from tests.gui.playing import TIMEOUT_MS, Play


@pytest.fixture
def page(studio: Studio, qtbot: QtBot) -> RunsPage:
    page = RunsPage(studio.context)
    qtbot.addWidget(page)
    return page


def test_dropped_adapters_join_the_history_and_can_be_trained_further(
    studio: Studio, page: RunsPage, play: Play, qtbot: QtBot, tmp_path: Path
) -> None:
    play("import")
    page.take_paths([str(tmp_path / "pirate"), str(tmp_path / "poet")])
    qtbot.waitUntil(lambda: len(page._table.selected_rows) == 1, timeout=TIMEOUT_MS)
    qtbot.waitUntil(
        lambda: [row.record.name for row in page._table.selected_rows] == ["poet"],
        timeout=TIMEOUT_MS,
    )
    assert page._table.model().rowCount() == 2
    assert page._notice._message.text() == "poet is among your runs now."
    assert "some-base" in page._notice._remedy.text()
    (row,) = page._table.selected_rows
    assert (row.record.is_imported, row.base) == (True, "org/some-base")
    assert page._table.model().index(0, 1).data() == "Imported"
    with qtbot.waitSignal(page.page_requested) as asked:
        page._on_actions_requested("continue")
    assert asked.args == ["data"]
    draft = studio.context.draft
    assert draft.get_value("base.model") == "org/some-base"
    assert draft.get_value("adapter.resume_from") == str(row.adapter)


def test_what_cannot_be_imported_is_said_and_the_next_one_comes_all_the_same(
    page: RunsPage, play: Play, qtbot: QtBot, tmp_path: Path
) -> None:
    play("import")
    told: list[str] = []
    page._desk.importer.failed.connect(lambda error: told.append(error.message))
    with qtbot.waitSignal(page._desk.imported, timeout=TIMEOUT_MS):
        page._desk.button.paths_chosen.emit(
            [str(tmp_path / "evil.zip"), str(tmp_path / "good.zip")]
        )
    assert told == ["No."]
    qtbot.waitUntil(lambda: page._table.model().rowCount() == 1, timeout=TIMEOUT_MS)


def test_a_base_that_was_not_found_is_chosen_by_its_folder(
    page: RunsPage, play: Play, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play("import")
    page.take_paths([str(tmp_path / "poet")])
    qtbot.waitUntil(lambda: len(page._table.selected_rows) == 1, timeout=TIMEOUT_MS)
    (row,) = page._table.selected_rows
    done = ImportFinished(folder=row.folder, name="poet", base="/gone", modules=1)
    gone = NoticeRaised(code="base_missing", message="There is no folder /gone.")
    page._desk._on_importer_finished(done, [gone])
    assert page._notice._action.text() == "Choose the base model…"
    folder = tmp_path / "tiny"
    folder.mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    page._notice._action.click()
    qtbot.waitUntil(lambda: "holds no model" in page._notice._message.text(), timeout=TIMEOUT_MS)
    (folder / "config.json").write_text("{}")
    page._desk._on_notice_action_requested()
    qtbot.waitUntil(
        lambda: [one.base for one in page._table.selected_rows] == [str(folder)],
        timeout=TIMEOUT_MS,
    )
    assert page._notice._message.text() == "tiny is its base model now."


def test_the_words_name_what_was_checked() -> None:
    done = ImportFinished(folder="/x", name="talk", base="/models/tiny", modules=14, hashes=7)
    title, words = describe_import(done, [])
    assert title == "talk is among your runs now."
    assert words == (
        "14 adapted layers were checked and 7 files compared with their hashes. "
        "Its base model is tiny."
    )
