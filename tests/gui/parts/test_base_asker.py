"""An imported adapter whose base is not here is asked for it wherever it is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from studio.gui.app import Studio
from studio.gui.parts.base_asker import ASK, BaseNotice
from tests.gui.pages import test_compare_page as columns
from tests.gui.playing import TIMEOUT_MS, Play

Ask = Callable[[str], Any]
Wait, wait = columns.Wait, columns.wait


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that passes for a model; the user chooses it when asked."""
    folder = tmp_path / "some-base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    return folder


@pytest.fixture
def ask(studio: Studio, play: Play, qtbot: QtBot, tmp_path: Path) -> Ask:
    """Imports an adapter without its base and opens it on a page; returns the page."""

    def open_page(key: str) -> Any:
        play("import")
        runs: Any = studio.window.get_page("runs")
        with qtbot.waitSignal(runs._desk.imported, timeout=TIMEOUT_MS) as brought:
            runs.take_paths([str(tmp_path / "poet")])
        play("export" if key == "export" else "chat")
        studio.window.show_run(key, brought.args[0])
        page = studio.window.get_page(key)
        notice = page.findChild(BaseNotice)
        qtbot.waitUntil(lambda: not notice.isHidden(), timeout=TIMEOUT_MS)
        message = notice._message.text().replace("\u200b", "")
        assert "org/some-base, is not on this machine" in message
        assert notice._action.text() == ASK
        return page

    return open_page


def test_compare_asks_before_it_loads_and_goes_on_with_the_answer(
    ask: Ask, base: Path, qtbot: QtBot, wait: Wait
) -> None:
    page = ask("compare")
    assert page._line_up.base == ""
    page._base_notice._action.click()
    wait(lambda: page._line_up.adapters == ("poet",))
    assert page._line_up.base == str(base)
    assert page._base_notice.isHidden()
    wait(lambda: page._link.is_ready)
    columns.end_chat(page, wait)


def test_pages_with_a_selection_take_the_adapter_again_with_its_base(
    ask: Ask, base: Path, qtbot: QtBot
) -> None:
    page = ask("forgetting")
    page.findChild(BaseNotice)._action.click()
    qtbot.waitUntil(lambda: page._selection.base == str(base), timeout=TIMEOUT_MS)
    assert list(page._selection.adapters) == ["poet"]


def test_export_asks_in_the_card_of_the_adapter_and_reads_it_again(
    ask: Ask, base: Path, qtbot: QtBot
) -> None:
    page = ask("export")
    notice = page.findChild(BaseNotice)
    (base / "config.json").rename(base / "other.json")
    notice._action.click()
    qtbot.waitUntil(lambda: "holds no model" in notice._message.text(), timeout=TIMEOUT_MS)
    (base / "other.json").rename(base / "config.json")
    notice._action.click()
    qtbot.waitUntil(lambda: page._presenter.choice.base == str(base), timeout=TIMEOUT_MS)
    assert notice.isHidden()
    assert page._presenter.choice.name == "poet"


def test_the_runs_page_offers_it_for_what_was_imported(
    ask: Ask, base: Path, studio: Studio, qtbot: QtBot
) -> None:
    ask("compare")
    page: Any = studio.window.get_page("runs")
    qtbot.waitUntil(lambda: len(page._table.selected_rows) == 1, timeout=TIMEOUT_MS)
    assert not page._actions._buttons["base"].isHidden()
    page._actions.requested.emit("base")
    qtbot.waitUntil(
        lambda: [row.base for row in page._table.selected_rows] == [str(base)],
        timeout=TIMEOUT_MS,
    )
    assert [row.lacks_base for row in page._table.selected_rows] == [False]
