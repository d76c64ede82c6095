from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from studio.core.errors import RunConflict
from studio.core.network.gate import Gate, find_gate
from studio.core.paths import Home
from studio.core.recipe.schema import Recipe
from studio.core.runs.record import RunRecord
from studio.gui.app import Studio
from studio.gui.bridge.live_job import LiveJob
from studio.gui.pages.home.page import HomePage
from studio.gui.pages.home.recent import RunRow, describe_age
from studio.gui.pages.settings.network import NetworkCard
from studio.gui.pages.settings.page import SettingsPage
from studio.gui.widgets.labels import PlainLabel


@pytest.fixture
def home_page(studio: Studio, qtbot: QtBot) -> HomePage:
    studio.window.show_page("home")
    studio.window.show()
    page = studio.window.get_page("home")
    assert isinstance(page, HomePage)
    return page


@pytest.fixture
def settings(studio: Studio, qtbot: QtBot) -> SettingsPage:
    page = studio.window.get_page("settings")
    assert isinstance(page, SettingsPage)
    return page


@pytest.fixture
def started(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Recipe, LiveJob]]:
    """Runs that were asked for; none is really started."""
    runs: list[tuple[Recipe, LiveJob]] = []

    def start(recipe: Recipe, base_folder: Path) -> LiveJob:
        run = LiveJob(studio.context.feed.store, lambda: None)
        runs.append((recipe, run))
        return run

    monkeypatch.setattr(studio.context.feed, "start", start)
    return runs


def test_one_click_starts_the_starter(
    home_page: HomePage, studio: Studio, started: list[tuple[Recipe, LiveJob]], qtbot: QtBot
) -> None:
    qtbot.mouseClick(home_page._hero._try, Qt.MouseButton.LeftButton)
    recipe, run = started[0]
    assert studio.context.starter is not None
    assert recipe.base.model == str(studio.context.starter.model_folder)
    assert studio.context.draft.recipe == recipe
    assert not home_page._hero._try.isEnabled()
    home_page.run_requested.disconnect()
    run.folder = "/runs/one"
    with qtbot.waitSignal(home_page.run_requested) as told:
        run.known.emit()
    assert told.args == ["train", "/runs/one"]
    assert home_page._hero._try.isEnabled()


def test_the_starter_leaves_a_recipe_of_the_users_own_alone(
    home_page: HomePage, studio: Studio, started: list[tuple[Recipe, LiveJob]]
) -> None:
    studio.context.draft.set_values({"base.model": "/my/model", "name": "mine"})
    home_page._hero._try.click()
    assert started[0][0].base.model != "/my/model"
    assert studio.context.draft.get_value("name") == "mine"


def test_a_start_that_fails_is_told(
    home_page: HomePage, started: list[tuple[Recipe, LiveJob]], qtbot: QtBot
) -> None:
    home_page._hero._try.click()
    started[0][1].launch_failed.emit(RunConflict("Busy.", "Wait."))
    assert home_page._notice._message.text() == "Busy."
    assert home_page._hero._try.isEnabled()


def test_runs_come_before_the_first_steps_once_there_are_any(home_page: HomePage) -> None:
    box = home_page.body
    assert box.indexOf(home_page._recent) > box.indexOf(home_page._steps)
    for _ in range(2):
        home_page._on_records_listed([RunRecord(name="one", kind="train")])
        assert box.indexOf(home_page._recent) == box.indexOf(home_page._steps) - 1
        assert box.indexOf(home_page._steps) == box.count() - 2


def test_recent_runs_open_by_click_and_key(home_page: HomePage, qtbot: QtBot) -> None:
    record = RunRecord(id="a", name="<b>pirate</b>", folder=Path("/runs/a"), status="finished")
    home_page._recent.show_records([record])
    row = home_page._recent.findChildren(RunRow)[0]
    home_page.run_requested.disconnect()
    with qtbot.waitSignal(home_page.run_requested) as told:
        qtbot.keyClick(row, Qt.Key.Key_Return)
    assert told.args == ["train", str(Path("/runs/a"))]
    assert home_page._recent._none.isHidden()


@pytest.mark.parametrize(
    ("age", "words"),
    [(5, "just now"), (600, "10 min ago"), (7300, "2 h ago"), (200_000, "2 days ago")],
)
def test_ages_are_told_in_words(age: float, words: str) -> None:
    assert describe_age(1_000_000 - age, 1_000_000) == words


def test_the_theme_is_chosen_and_kept(settings: SettingsPage, studio: Studio) -> None:
    settings._appearance._theme._buttons["dark"].click()
    assert studio.context.theme.choice == "dark"
    assert studio.context.preferences.get_text("theme") == "dark"


def test_the_size_is_kept_for_the_next_start(settings: SettingsPage, studio: Studio) -> None:
    settings._appearance._scale._buttons["150"].click()
    assert studio.context.preferences.get_number("scale_percent", 100) == 150
    assert "next start" in settings._appearance._hint.text()


def test_staying_offline_is_one_switch_that_holds_at_once_and_after_a_restart(
    settings: SettingsPage, studio: Studio, home: Home
) -> None:
    gate = studio.context.gate
    gate.keep_offline(False)
    switch = settings._network._switch
    switch.click()
    assert not gate.is_open
    assert not find_gate(home, {}).is_open
    assert "as before" in settings._network._words.text()
    switch.click()
    assert gate.is_open
    assert find_gate(home, {}).is_open


def test_an_offline_start_is_explained_and_cannot_be_switched_off(qtbot: QtBot) -> None:
    card = NetworkCard(Gate("environment"))
    qtbot.addWidget(card)
    assert card._switch.isChecked()
    assert not card._switch.isEnabled()
    assert "HF_HUB_OFFLINE" in card._words.text()


def test_model_folders_are_added_and_taken_away(
    settings: SettingsPage, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "/models")
    settings._folders._on_add_clicked()
    settings._folders._on_add_clicked()
    assert studio.context.preferences.get_texts("model_folders") == ["/models"]
    settings._folders._on_remove_clicked("/models")
    assert studio.context.preferences.get_texts("model_folders") == []


def test_settings_that_cannot_be_read_are_told_and_the_program_stays_offline(
    home: Home, request: pytest.FixtureRequest
) -> None:
    home.preferences.parent.mkdir(parents=True, exist_ok=True)
    home.preferences.write_bytes(b"\x00" * 100)
    studio: Studio = request.getfixturevalue("studio")
    page = studio.window.get_page("home")
    labels = [label.text() for label in page.findChildren(PlainLabel)]
    assert any("Your settings cannot be read" in text for text in labels)
    assert any("stays offline" in text for text in labels)
    assert not studio.context.gate.is_open
    studio.context.preferences.keep("theme", "dark")
    assert not find_gate(home, {}).is_open
