from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPlainTextEdit
from pytestqt.qtbot import QtBot

from studio.core.events import types
from studio.core.memory.card import DeviceSpec
from studio.core.paths import Home
from studio.core.runs.record import RunRecord
from studio.gui.app import Studio
from studio.gui.pages.train.page import TrainPage
from studio.gui.widgets.flow_text import FlowText
from studio.gui.widgets.labels import PlainLabel
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import build_recipe, tell_finished, tell_start, tell_steps, write_run


@pytest.fixture
def page(studio: Studio, qtbot: QtBot) -> Iterator[TrainPage]:
    studio.window.show_page("train")
    page = studio.window.get_page("train")
    assert isinstance(page, TrainPage)
    yield page
    for run in studio.context.feed.alive_runs:  # else closing the window asks about them
        run.kill()
        qtbot.waitUntil(lambda run=run: run.is_over, timeout=TIMEOUT_MS)


@pytest.fixture
def wait(qtbot: QtBot) -> Callable[[Callable[[], bool]], None]:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


Wait = Callable[[Callable[[], bool]], None]


def load_recipe(studio: Studio, home: Home, name: str = "support-tone") -> None:
    studio.context.draft.load(build_recipe(name, home.folder / "material"))
    studio.window.show_page("train")


def get_texts(page: TrainPage) -> str:
    return "\n".join(label.text() for label in page.findChildren(PlainLabel))


def test_without_a_model_start_is_off_and_says_why(page: TrainPage) -> None:
    assert not page._ready._start.isEnabled()
    assert "No base model is chosen yet" in get_texts(page)
    assert "2 things above must be mended first" in page._ready._reason.text()


def test_a_file_that_was_deleted_after_it_was_chosen_forbids_the_start_in_words(
    studio: Studio, page: TrainPage, home: Home, wait: Wait
) -> None:
    load_recipe(studio, home)
    wait(lambda: "steps" in get_texts(page))
    assert page._ready._start.isEnabled()
    gone = home.folder / "material" / "support.jsonl"
    gone.unlink()
    page._presenter.show_ready()
    wait(lambda: not page._ready._start.isEnabled())
    assert f"The data file {gone} is not there any more." in get_texts(page)


def test_after_stop_the_keyboard_waits_at_resume_and_not_at_the_tabs(page: TrainPage) -> None:
    page._on_presenter_run_shown()
    alive = RunRecord(status="running")
    page._on_presenter_record_changed(alive)
    assert page.window().focusWidget() is page._view._tabs.tabBar()  # not Stop
    page._controls.show()
    page._controls._stop.setFocus()
    page._controls.show_stopping()
    stopped = RunRecord(status="stopped", step=3, total_steps=9, last_checkpoint_step=3)
    page._on_presenter_record_changed(stopped)
    assert page.window().focusWidget() is page._view._outcome._resume


def test_the_summary_names_model_data_rank_and_steps(
    studio: Studio, page: TrainPage, home: Home, wait: Wait
) -> None:
    load_recipe(studio, home)
    # 320 rows, 5 % held back, 2 epochs, 16 per step: 304 * 2 / 16.
    wait(lambda: "about 38 steps" in get_texts(page))
    studio.context.draft.set_value("data.exclude", [f"{mark:032x}" for mark in range(20)])
    page._presenter.show_ready()
    wait(lambda: "about 36 steps" in get_texts(page))  # 300 rows * 0.95 * 2 / 16
    studio.context.draft.set_value("data.leave_out", ["duplicate_rows"])
    page._presenter.show_ready()
    wait(lambda: "up to 36 steps" in get_texts(page))
    texts = get_texts(page)
    assert "Qwen3-0.6B" in texts
    assert "320 rows, 5 % held back" in texts
    assert "Rank 16, alpha 32" in texts
    assert page._ready._start.isEnabled()
    studio.context.draft.set_value("base.quantisation", "nf4")
    page._presenter.show_ready()
    wait(lambda: "held in 4 bit (NF4)" in get_texts(page))


@pytest.mark.parametrize(("gib", "words"), [(16, "It fits: "), (0, "It will probably not fit: ")])
def test_the_summary_says_whether_the_memory_will_do(
    studio: Studio, page: TrainPage, wait: Wait, monkeypatch: pytest.MonkeyPatch,
    gib: int, words: str,
) -> None:  # fmt: skip
    device = DeviceSpec("test", "cpu", 32 << 30, (gib << 30) + 1, False, 50e9)
    monkeypatch.setattr("studio.gui.bridge.forecaster.find_device", lambda _wish: device)
    starter = studio.context.starter
    assert starter is not None
    studio.context.draft.load(starter.build_recipe(starter.get_data_set()))
    studio.window.show_page("train")
    wait(lambda: words in get_texts(page))
    assert page._ready._start.isEnabled()


def test_start_shows_the_run_and_its_end_offers_compare_and_export(
    studio: Studio, page: TrainPage, home: Home, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("short")
    load_recipe(studio, home)
    with qtbot.waitSignal(studio.context.feed.run_ended, timeout=TIMEOUT_MS):
        qtbot.mouseClick(page._ready._start, Qt.MouseButton.LeftButton)
    outcome = page._view._outcome
    assert not outcome.isHidden()
    assert outcome._title.text() == "Training finished"
    assert page._controls.isHidden()
    assert not page._new.isHidden()
    folder = page._presenter.folder
    for button, key in ((outcome._compare, "compare"), (outcome._export, "export")):
        with qtbot.waitSignal(page.run_requested) as asked:
            button.click()
        assert asked.args == [key, folder]
    page._new.click()
    assert page._presenter.is_ready_shown
    assert not page._back.isHidden()
    wait(lambda: not studio.context.background.is_busy)


def test_a_run_that_is_over_cannot_be_stopped_while_its_process_still_ends(
    studio: Studio, page: TrainPage, home: Home, play: Play, wait: Wait
) -> None:
    play("obedient")
    load_recipe(studio, home)
    page._ready._start.click()
    wait(lambda: page._controls._pause.isEnabled())
    (run,) = studio.context.feed.alive_runs
    run._on_thread_record_changed(run.record.model_copy(update={"status": "finished"}))
    assert not run.is_over
    assert page._controls.isHidden()
    assert not page._new.isHidden()


def test_pause_turns_into_continue_and_stop_saves(
    studio: Studio, page: TrainPage, home: Home, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("obedient")
    load_recipe(studio, home)
    page._ready._start.click()
    wait(lambda: page._controls._pause.isEnabled())
    page._controls._pause.click()
    wait(lambda: page._controls._pause.text() == "Continue")
    page._controls._pause.click()
    wait(lambda: page._controls._pause.text() == "Pause")
    assert page._view._status._detail.text() == ""
    page._controls._save.click()
    wait(lambda: page._view._status._detail.text().startswith("saved at step "))
    with qtbot.waitSignal(studio.context.feed.run_ended, timeout=TIMEOUT_MS):
        page._controls._stop.click()
        assert not page._controls._stop.isEnabled()
    assert page._view._outcome._title.text() == "Training stopped"
    assert page._view._outcome._resume.isVisibleTo(page)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_run_says_what_happened_and_resume_goes_on(
    studio: Studio, page: TrainPage, home: Home, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    play("obedient")
    load_recipe(studio, home)
    page._ready._start.click()
    run = studio.context.feed.alive_runs[0]
    wait(lambda: run.record.step > 2)
    assert run.record.process_id is not None
    with qtbot.waitSignal(studio.context.feed.run_ended, timeout=TIMEOUT_MS):
        os.kill(run.record.process_id, signal.SIGKILL)
    outcome = page._view._outcome
    assert outcome._title.text() == "Training was interrupted"
    assert "out of memory" in outcome._happened.text()
    assert "Nothing was saved yet" in outcome._happened.text()
    play("short")
    with qtbot.waitSignal(studio.context.feed.run_ended, timeout=TIMEOUT_MS):
        outcome._resume.click()
    assert outcome._title.text() == "Training finished"


def test_a_run_of_the_history_shows_its_frozen_recipe_log_and_curves(
    studio: Studio, page: TrainPage, home: Home, wait: Wait
) -> None:
    folder = write_run(home, "an old run", tell_finished())
    studio.window.show_run("train", folder)
    wait(lambda: "name: an old run" in page._view._recipe._text.toPlainText())
    log = page._view._log._text.toPlainText()
    assert "Model loaded: Qwen3ForCausalLM" in log
    assert "Finished after step 40" in log
    assert page._presenter.record is not None
    assert page._presenter.record.step == 40
    page._view._recipe._reuse.click()
    wait(lambda: studio.context.draft.get_value("name") == "an old run")


def test_an_earlier_run_can_be_opened_while_another_is_at_work(
    studio: Studio, page: TrainPage, home: Home, play: Play, qtbot: QtBot, wait: Wait
) -> None:
    old = write_run(home, "an old run", tell_finished())
    play("obedient")
    load_recipe(studio, home)
    page._ready._start.click()
    run = studio.context.feed.alive_runs[0]
    wait(lambda: run.record.step > 2)
    studio.window.show_run("train", old)
    wait(lambda: page._presenter.record is not None and page._presenter.record.step == 40)
    assert page._presenter.folder == old
    studio.window.show_page("train")  # the rail leads to what is at work
    assert page._presenter.folder == run.folder
    with qtbot.waitSignal(studio.context.feed.run_ended, timeout=TIMEOUT_MS):
        page._controls._stop.click()


def test_what_a_run_mended_by_itself_is_shown_marked_and_can_be_put_away(
    studio: Studio, page: TrainPage, home: Home, qtbot: QtBot, wait: Wait
) -> None:
    facts = [
        *tell_start(40),
        *tell_steps(20, 40),
        types.MicroBatchShrunk(
            step=21, before_tokens=4096, after_tokens=2048, cause="out_of_memory"
        ),
        types.CardThrottled(step=21, temperature_celsius=88, clock_mhz=1200, full_clock_mhz=1900),
        types.RunStopped(step=21),
    ]
    page.show_run(write_run(home, "hot", facts))
    bar = page._view._incidents
    wait(lambda: not bar.isHidden())
    assert "88 °C" in bar._message.text()
    assert "1 earlier note is in the log" in bar._remedy.text()
    assert "2,048 instead of 4,096" in page._view._log._text.toPlainText()
    plots = page._view._plots._plots
    assert plots is not None
    assert plots._loss._marks == {21: "Fewer tokens at once, Card is hot"}
    plots._loss._on_canvas_step_hovered(21.0)
    assert plots._loss._legend._entries["mark"][2].text().startswith("Fewer tokens")
    qtbot.mouseClick(bar._action, Qt.MouseButton.LeftButton)
    assert bar.isHidden()
    assert page._presenter.record is not None
    page._view.show_record(page._presenter.record)
    assert bar.isHidden()
    page.show_run(write_run(home, "cool", tell_finished()))
    wait(lambda: page._presenter.record is not None and page._presenter.record.name == "cool")
    assert bar.isHidden()
    assert plots._loss._marks == {}


def test_a_failed_run_shows_the_remedy_and_what_resume_repeats(
    studio: Studio, page: TrainPage, home: Home, wait: Wait
) -> None:
    failure = types.RunFailed(code="out_of_memory", message="Too large.", remedy="Shrink it.")
    folder = write_run(home, "too large", [*tell_start(40), *tell_steps(21, 40), failure])
    studio.window.show_run("train", folder)
    outcome = page._view._outcome
    wait(lambda: outcome._title.text() == "Training failed")
    assert outcome._happened.text().startswith("Too large. Shrink it. ")
    assert "repeats 1 step." in outcome._happened.text()
    outcome._change.click()
    wait(lambda: studio.context.draft.get_value("name") == "too large")
    assert studio.window.page_key == "recipe"


def test_answers_and_log_lines_of_a_model_stay_plain_text(
    studio: Studio, page: TrainPage, home: Home, wait: Wait
) -> None:
    folder = write_run(home, "<img src=x>", tell_finished())
    studio.window.show_run("train", folder)
    wait(lambda: page._presenter.record is not None)
    labels = page.findChildren(PlainLabel)
    answers = [text.text for text in page.findChildren(FlowText)]
    assert any("<b>" in answer for answer in answers)
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in labels)
    assert all(isinstance(box, QPlainTextEdit) for box in page.findChildren(QPlainTextEdit))


def test_a_folder_that_is_no_run_is_told_in_words(
    studio: Studio, page: TrainPage, home: Home, wait: Wait
) -> None:
    studio.window.show_run("train", str(home.folder / "nowhere"))
    wait(lambda: not page._notice.isHidden())
    assert "nowhere" in page._notice._message.text()
