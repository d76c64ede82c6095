"""The hub dialog against a hub on this machine, with real downloads in child processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from studio.core.hub.cache import find_hub_snapshot
from studio.core.hub.token import find_token
from studio.core.starter import load_starter
from studio.gui.app import Studio
from studio.gui.pages.data.hub_source import HubSourceButton
from studio.gui.widgets.hub.dialog import HubDialog, open_hub_dialog
from tests.core.hub.fake_hub import FakeHub, running_hub

LARGE = 10 << 20


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with three models and a data set."""
    with running_hub(tmp_path, monkeypatch) as running:
        running.add_folder("acme/base", load_starter().model_folder)
        running.add("acme/pickle", {"config.json": b"{}", "pytorch_model.bin": b"x"})
        running.add("closed/base", {"config.json": b"{}", "model.safetensors": bytes(9)})
        running.gated = {"closed/base"}
        row = b'{"prompt": "Hi", "completion": "Ho."}\n'
        running.add("acme/rows", {"train.jsonl": row * 20}, "dataset")
        yield running


@pytest.fixture
def dialog(hub: FakeHub, studio: Studio, qtbot: QtBot) -> Iterator[HubDialog]:
    """The dialog of the Model page, with what is used most found."""
    studio.window.show_page("model")
    studio.window.show()
    page = studio.window.get_page("model")
    with qtbot.waitSignal(studio.context.hub.found):
        page._hub.click()
    opened = studio.window.findChild(HubDialog)
    assert opened is not None
    yield opened
    if isValid(opened):
        opened.accept()


def choose(dialog: HubDialog, name: str, qtbot: QtBot) -> None:
    """Choose an entry and wait for what the hub says of it."""
    entries = dialog._panel._list
    row = entries._entries.find_row(name)
    assert row >= 0
    entries.setCurrentIndex(entries.model().index(row, 0))
    qtbot.waitUntil(lambda: dialog._card._chip.text() != "Looking …")


def test_a_model_is_found_fetched_and_chosen(
    dialog: HubDialog, hub: FakeHub, studio: Studio, qtbot: QtBot
) -> None:
    choose(dialog, "acme/base", qtbot)
    card = dialog._card
    assert card._chip.text() == "Not here yet"
    assert card._facts["licence"].text() == "apache-2.0"
    assert "Fits" in card._fit._message.text()
    with qtbot.waitSignal(studio.context.hub.arrived, timeout=20_000):
        card._fetch.click()
        assert card._stop.isVisible()
    qtbot.waitUntil(lambda: card._use.isVisible(), timeout=10_000)
    card._use.click()
    draft = studio.context.draft
    commit = hub.commit("model", "acme/base")
    assert draft.get_value("base.model") == "acme/base"
    assert draft.get_value("base.revision") == commit
    assert find_hub_snapshot("acme/base", commit) is not None
    page = studio.window.get_page("model")
    qtbot.waitUntil(lambda: page._details._chip.text() == "Chosen", timeout=10_000)
    page._on_model_selected(page._found._models[0])
    assert draft.get_value("base.revision") is None


def test_a_paused_download_goes_on(
    dialog: HubDialog, hub: FakeHub, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    hub.add("acme/large", {"config.json": b"{}", "model.safetensors": bytes(LARGE)})
    dialog._panel._line.setText("acme/large")
    with qtbot.waitSignal(studio.context.hub.found):
        dialog._panel._line.returnPressed.emit()
    choose(dialog, "acme/large", qtbot)
    hub.stall_after = LARGE // 2
    dialog._card._fetch.click()
    shelf = studio.context.hub
    parts = tmp_path / "hub/models--acme--large/blobs"
    qtbot.waitUntil(
        lambda: any(one.stat().st_size > LARGE // 4 for one in parts.glob("*.part")),
        timeout=20_000,
    )
    with qtbot.waitSignal(shelf.stopped, timeout=20_000):
        dialog._card._stop.click()
        hub.go_on.set()
    qtbot.waitUntil(lambda: dialog._card._chip.text() == "Begun", timeout=10_000)
    assert dialog._card._discard.isVisible()
    hub.stall_after = 0
    with qtbot.waitSignal(shelf.arrived, timeout=20_000):
        dialog._card._fetch.click()
    assert hub.ranges("model.safetensors")[-1] not in (None, "bytes=0-")


def test_what_cannot_be_had_is_explained(dialog: HubDialog, studio: Studio, qtbot: QtBot) -> None:
    choose(dialog, "acme/pickle", qtbot)
    assert "hidden programs" in dialog._card._notice._message.text()
    assert not dialog._card._fetch.isVisible()
    choose(dialog, "closed/base", qtbot)
    assert "accept conditions" in dialog._card._notice._message.text()
    with qtbot.waitSignal(studio.context.hub.failed, timeout=20_000):
        dialog._card._fetch.click()
    assert "who accepted its conditions" in dialog._card._notice._message.text()


def test_a_name_that_no_search_shows_can_be_looked_at(
    dialog: HubDialog, studio: Studio, qtbot: QtBot
) -> None:
    dialog._panel._line.setText("acme/hidden")
    with qtbot.waitSignal(studio.context.hub.found):
        dialog._panel._line.returnPressed.emit()
    choose(dialog, "acme/hidden", qtbot)
    assert "no model acme/hidden" in dialog._card._notice._message.text()


def test_offline_lists_what_is_here_and_asks_nobody(
    hub: FakeHub, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    snapshot = tmp_path / "hub/datasets--acme--rows/snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "train.jsonl").write_text('{"prompt": "Hi", "completion": "Ho."}\n')
    studio.context.gate.keep_offline(True)
    studio.window.show_page("data")
    studio.window.show()
    button = studio.window.get_page("data").findChild(HubSourceButton)
    assert button is not None
    with qtbot.waitSignal(studio.context.hub.kept_listed):
        button.click()
    opened = studio.window.findChild(HubDialog)
    assert opened is not None
    assert "Stay offline" in opened._notice._message.text()
    assert not opened._panel._line.isEnabled()
    opened._panel._list.setCurrentIndex(opened._panel._list.model().index(0, 0))
    opened._card._use.click()
    assert studio.context.draft.get_value("data.train")[0]["source"] == "hub:acme/rows"
    assert hub.log == []
    page = studio.window.get_page("data")
    qtbot.waitUntil(lambda: page._files._rows[0]._chip.text() == "1 row")


def test_rows_are_shown_before_a_download(hub: FakeHub, studio: Studio, qtbot: QtBot) -> None:
    hub.add("acme/pictures", {"train.parquet": b"PAR1"}, "dataset")
    studio.window.show()
    with qtbot.waitSignal(studio.context.hub.found):
        dialog = open_hub_dialog(studio.context.hub, "dataset", studio.window, lambda *_: None)
    choose(dialog, "acme/rows", qtbot)
    card = dialog._card
    card._look.click()
    qtbot.waitUntil(card._rows.isVisible)
    assert card._rows.model().index(0, 0).data() == "Hi"
    assert "part train" in card._about_rows.text()
    assert not any(path.endswith("train.jsonl") for path, _, _ in hub.log)
    choose(dialog, "acme/pictures", qtbot)
    assert not card._rows.isVisible()
    card._look.click()
    qtbot.waitUntil(card._rows.isVisible)
    assert "cannot read its files as rows" in card._about_rows.text()
    assert card._rows.model().index(0, 0).data() == "train.parquet"
    dialog.accept()


def test_a_silent_hub_neither_freezes_the_window_nor_its_end(
    hub: FakeHub, studio: Studio, qtbot: QtBot
) -> None:
    hub.stall_after = -1
    dialog = open_hub_dialog(studio.context.hub, "model", studio.window, lambda *_: None)
    dialog._panel.search_requested.emit("something else")
    assert dialog.findChildren(QPushButton)
    assert studio.context.hub.close()
    hub.go_on.set()
    dialog.accept()


def test_a_token_is_saved_where_the_hubs_programs_look(
    hub: FakeHub, studio: Studio, qtbot: QtBot
) -> None:
    studio.window.show_page("settings")
    card = studio.window.get_page("settings")._network
    card._token.setText("hf_abcdef")
    card._token.returnPressed.emit()
    qtbot.waitUntil(lambda: "A token is saved" in card._token_words.text())
    assert card._token.text() == ""
    assert find_token() == "hf_abcdef"
