"""The memory card of the recipe page: bar, verdict, advice and the measured dry run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.core.memory.card import DeviceSpec
from studio.core.memory.recomputing import Recomputing
from studio.gui.app import Studio
from studio.gui.pages.recipe.memory_card import describe_recomputing
from studio.gui.pages.recipe.page import RecipePage
from studio.gui.widgets.stacked_bar import Segment, StackedBar
from tests.core.hub.fake_hub import FakeHub, running_hub
from tests.core.memory.published import PUBLISHED
from tests.gui.playing import TIMEOUT_MS, Play

GIB = 1 << 30
COMPUTER = DeviceSpec("test computer", "cpu", 32 * GIB, 16 * GIB, False, 50e9)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that the window may ask; to be named before the window."""
    with running_hub(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def page(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> RecipePage:
    monkeypatch.setattr("studio.gui.bridge.forecaster.find_device", lambda _wish: COMPUTER)
    studio.window.show_page("recipe")
    studio.window.show()
    page = studio.window.get_page("recipe")
    assert isinstance(page, RecipePage)
    return page


def choose_starter(studio: Studio) -> None:
    starter = studio.context.starter
    assert starter is not None
    studio.context.draft.load(starter.build_recipe(starter.get_data_set()))


def choose_large_model(studio: Studio, folder: Path) -> None:
    """An 8B model that is here as its configuration only, with the starter's data."""
    choose_starter(studio)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(PUBLISHED["Llama-3.1-8B"][0]))
    studio.context.draft.set_value("base.model", str(folder))


def wait_for_forecast(page: RecipePage, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: page._outlook._forecaster.forecast is not None, timeout=TIMEOUT_MS)


def get_sizes(page: RecipePage) -> dict[str, float]:
    return {segment.label: segment.size for segment in page._memory._bar._segments}


def test_without_a_model_it_says_what_is_missing(page: RecipePage) -> None:
    assert page._memory._verdict.text() == "Not known yet"
    assert "Choose a base model" in page._memory._needed.text()
    assert page._memory._bar.isHidden()
    assert not page._measure._start.isEnabled()


def test_the_bar_holds_the_parts_of_the_forecast(
    page: RecipePage, studio: Studio, qtbot: QtBot
) -> None:
    choose_starter(studio)
    wait_for_forecast(page, qtbot)
    forecast = page._outlook._forecaster.forecast
    assert forecast is not None
    assert sum(get_sizes(page).values()) == forecast.ledger.total_bytes
    assert forecast.budget_bytes == COMPUTER.free_bytes
    assert page._memory._verdict.text() == "It fits"
    assert page._memory._budget.itemText(0) == "This computer: 16.0 GB"
    assert "Base model" in page._memory._bar.accessibleDescription()
    assert page._memory._whole_words.text().endswith("steps in all")
    assert "tokens at once" in page._memory._automatic.text()
    assert page._advice.isHidden()


def test_a_model_without_data_is_forecast_with_the_longest_rows(
    page: RecipePage, studio: Studio, qtbot: QtBot
) -> None:
    starter = studio.context.starter
    assert starter is not None
    studio.context.draft.set_value("base.model", str(starter.model_folder))
    wait_for_forecast(page, qtbot)
    assert page._memory._verdict.text() == "It fits"
    assert "could not be read yet" in page._memory._hint.text()
    assert not page._measure._start.isEnabled()


def test_a_moving_knob_is_followed_at_once(page: RecipePage, studio: Studio, qtbot: QtBot) -> None:
    choose_starter(studio)
    wait_for_forecast(page, qtbot)
    before = get_sizes(page)["Adapter"]
    rank = studio.context.draft.get_value("adapter.rank")
    forecaster = page._outlook._forecaster
    assert studio.context.draft.recipe is not None
    start = time.process_time()
    page._sheet.form.value_edited.emit("adapter.rank", 4 * rank)
    assert get_sizes(page)["Adapter"] == 4 * before
    forecaster.show_recipe(studio.context.draft.recipe, studio.context.draft.base_folder)
    # 20 ms are allowed; ten times that tells a change of kind from a busy machine
    assert time.process_time() - start < 0.2


def test_patterns_that_match_nothing_take_the_forecast_away(
    page: RecipePage, studio: Studio, qtbot: QtBot
) -> None:
    choose_starter(studio)
    wait_for_forecast(page, qtbot)
    studio.context.draft.set_value("adapter.targets", ["no_such_proj"])
    assert page._memory._verdict.text() == "Not known yet"
    reason = page._memory._needed.text().replace("\u200b", "")
    assert reason.startswith("Target modules: 'no_such_proj'")
    studio.context.draft.set_value("adapter.targets", "all-linear")
    assert page._memory._verdict.text() == "It fits"


def test_another_card_is_planned_for_and_remembered(
    page: RecipePage, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    choose_large_model(studio, tmp_path / "llama-8b")
    wait_for_forecast(page, qtbot)
    page._memory.budget_chosen.emit(12)
    assert page._memory._verdict.text() == "It does not fit"
    assert studio.context.preferences.get_number("memory_budget_gib", 0) == 12
    page._memory.budget_chosen.emit(24)
    assert page._memory._verdict.text() == "It fits"
    assert "computer memory" not in page._memory._needed.text()
    assert "50.0T operations a second" in page._memory._epoch.toolTip()
    studio.context.draft.set_value("base.offload", "layers")
    assert "computer memory" in page._memory._needed.text()


def test_advice_makes_it_fit_by_one_click_and_can_be_undone(
    page: RecipePage, studio: Studio, qtbot: QtBot, tmp_path: Path
) -> None:
    choose_large_model(studio, tmp_path / "llama-8b")
    studio.context.draft.set_values(
        {"adapter.rank": 256, "train.checkpointing": "none", "train.micro_batch_tokens": 16384}
    )
    wait_for_forecast(page, qtbot)
    with qtbot.waitSignal(page._outlook._forecaster.advice_found, timeout=TIMEOUT_MS):
        page._memory.budget_chosen.emit(24)
    assert not page._advice.isHidden()
    before = studio.context.draft.get_values()
    needed = [item for item in page._advice._advice if item.is_needed]
    assert needed
    page._advice._on_all_clicked()
    assert page._memory._verdict.text() in ("It fits", "Tight: it may not fit")
    assert page._advice.isHidden()
    for item in needed:
        for path, value in item.changes:
            assert studio.context.draft.get_value(path) == value
    studio.context.draft.undo()
    assert studio.context.draft.get_values() == before


def test_a_dry_run_corrects_the_forecast_and_is_remembered(
    page: RecipePage, studio: Studio, qtbot: QtBot, play: Play
) -> None:
    play("measure")
    choose_starter(studio)
    wait_for_forecast(page, qtbot)
    page._measure._start.click()
    assert page._measure._start.isHidden()
    qtbot.waitUntil(lambda: "Measured" in page._measure._words.text(), timeout=TIMEOUT_MS)
    assert "600 MB" in page._measure._words.text()
    qtbot.waitUntil(lambda: "Corrected" in page._memory._hint.text(), timeout=TIMEOUT_MS)
    forecast = page._outlook._forecaster.forecast
    assert forecast is not None
    assert forecast.rows.rows == 2
    assert not forecast.time.is_guess
    assert page._memory._epoch.text()[0] != "~"
    assert list((studio.context.home.cache / "measured").iterdir())


def test_a_dry_run_that_fills_the_memory_says_so(
    page: RecipePage, studio: Studio, qtbot: QtBot, play: Play
) -> None:
    play("full-memory")
    choose_starter(studio)
    wait_for_forecast(page, qtbot)
    page._measure._start.click()
    qtbot.waitUntil(lambda: "does not fit" in page._measure._words.text(), timeout=TIMEOUT_MS)
    assert not page._measure._start.isHidden()


def test_a_dry_run_can_be_cancelled(
    page: RecipePage, studio: Studio, qtbot: QtBot, play: Play
) -> None:
    play("obedient")
    choose_starter(studio)
    wait_for_forecast(page, qtbot)
    page._measure._start.click()
    assert not page._measure._stop.isHidden()
    job = page._outlook._dry_run._job
    assert job is not None
    qtbot.waitUntil(lambda: job.record.step > 0, timeout=TIMEOUT_MS)
    page._measure._stop.click()
    qtbot.waitUntil(lambda: not page._outlook._dry_run.is_running, timeout=TIMEOUT_MS)
    assert page._measure._words.isHidden()
    assert not page._measure._start.isHidden()


def test_a_model_of_the_hub_is_forecast_before_it_is_downloaded(
    hub: FakeHub, page: RecipePage, studio: Studio, qtbot: QtBot
) -> None:
    starter = studio.context.starter
    assert starter is not None
    hub.add_folder("acme/base", starter.model_folder)
    choose_starter(studio)
    wait_for_forecast(page, qtbot)
    sizes, count = get_sizes(page), page._size._count.toolTip()
    studio.context.draft.set_value("base.model", "acme/base")
    assert page._memory._verdict.text() == "Not known yet"
    qtbot.waitUntil(lambda: page._memory._verdict.text() == "It fits", timeout=TIMEOUT_MS)
    assert get_sizes(page) == sizes
    assert page._size._count.toolTip() == count
    assert page._size._reason.isHidden()


def test_what_layers_recompute_is_told_in_words() -> None:
    assert describe_recomputing(Recomputing(none=16)) == "nothing is recomputed"
    assert describe_recomputing(Recomputing(all=16)) == "all layers are recomputed"
    mixed = describe_recomputing(Recomputing(none=10, mlp=4, all=2))
    assert mixed == "all of 2 and the inner part of 4 of 16 layers is recomputed"


def test_the_bar_tells_the_part_under_the_pointer(qtbot: QtBot) -> None:
    bar = StackedBar()
    qtbot.addWidget(bar)
    bar.resize(200, bar.height())
    bar.show_segments(
        [Segment("a", 1, "", 0), Segment("none", 0, "", 1), Segment("b", 1, "", 2)], 4
    )
    found = [bar.find_segment(x) for x in (10, 60, 150)]
    assert [segment and segment.label for segment in found] == ["a", "b", None]
