from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from studio.core.paths import Home
from studio.core.results.store import ResultStore
from studio.core.runs.layout import RunLayout
from studio.gui.app import Studio
from studio.gui.pages.evaluate.page import EvaluatePage
from studio.gui.parts.base_form import BaseFormBox
from tests.core.results.test_results import build
from tests.gui.playing import TIMEOUT_MS, Play
from tests.gui.story import tell_finished, write_run

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def wait(qtbot: QtBot) -> Wait:
    return lambda is_true: qtbot.waitUntil(is_true, timeout=TIMEOUT_MS)


@pytest.fixture
def page(studio: Studio, wait: Wait) -> EvaluatePage:
    page = studio.window.get_page("evaluate")
    assert isinstance(page, EvaluatePage)
    wait(lambda: not studio.context.background.is_busy)
    return page


def open_run(studio: Studio, page: EvaluatePage, home: Home, wait: Wait) -> str:
    folder = write_run(home, "pirate", tell_finished())
    studio.window.show_run("evaluate", folder)
    wait(lambda: bool(page._selection.adapters) and bool(page._rows.wish.run))
    return folder


def test_the_page_says_what_is_missing(page: EvaluatePage, tmp_path: Path) -> None:
    assert page._start._words.text() == "Add an adapter or choose a base first."
    page._selection.choose_base(str(tmp_path))
    assert "rows" in page._start._words.text()
    page._rows.show_file(str(tmp_path / "rows.jsonl"))
    assert page._start._words.text() == ""
    page._metrics._boxes["regex"].setChecked(True)
    assert "needs a pattern" in page._start._words.text()
    assert not page._start._start.isEnabled()
    page._metrics._fields["regex"].setText(r"^\d=\d$")
    assert page._start._start.isEnabled()
    assert page._metrics.metrics[-1] == r"regex=^\d=\d$"


def test_a_run_is_measured_on_its_own_rows_and_the_result_is_kept(
    studio: Studio, page: EvaluatePage, home: Home, play: Play, wait: Wait, tmp_path: Path
) -> None:
    play("evaluate")
    folder = open_run(studio, page, home, wait)
    mix = Path(write_run(home, "mix", tell_finished()))
    RunLayout(mix).recipe.unlink()
    page.refresh()
    wait(lambda: str(mix) in [row.folder for row in page._selection.rows])
    assert page._rows._runs == [folder], "a saved mix has no rows of its own"
    page._start._start.click()
    wait(lambda: page._stack.currentIndex() == 1)
    order = page._presenter._order
    assert order is not None
    assert (order.run, order.data, order.limit) == (folder, "", 100)
    assert order.quantisation == "auto"
    view = page._view
    assert "pirate is better in Loss than base." in view._findings.text()
    assert view._table.item(0, 1).text().startswith("1  *")
    assert "hardly" not in view._table.item(0, 0).toolTip()
    ((kept, summary),) = ResultStore(home).list()
    assert summary.columns == ("base", "pirate")
    page.save_file(tmp_path / "rows.csv", "rows.csv")
    wait((tmp_path / "rows.csv").exists)
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as stream:
        assert next(csv.DictReader(stream))["pirate: answer"] == "Arr <b>x</b>"
    wait(lambda: not page._history.isHidden())
    page._presenter.delete(kept)
    wait(lambda: page._history.isHidden())


def test_the_base_is_held_as_the_user_chose(
    studio: Studio, page: EvaluatePage, home: Home, play: Play, wait: Wait
) -> None:
    play("evaluate")
    open_run(studio, page, home, wait)
    box = page._models.findChild(BaseFormBox)
    assert isinstance(box, BaseFormBox)
    box.show_form("int8")
    box.activated.emit(box.currentIndex())
    assert "Half the memory" in box.toolTip()
    page._start._start.click()
    wait(lambda: page._stack.currentIndex() == 1)
    assert page._presenter._order is not None
    assert page._presenter._order.quantisation == "int8"


def test_rows_are_sorted_by_what_was_lost_and_answers_are_marked(
    page: EvaluatePage, wait: Wait
) -> None:
    page._view.show_result(build())
    rows = page._view._rows
    model = rows._table.rows
    assert [model.index(row, 0).data() for row in (0, 1)] == ["2", "1"]
    assert model.index(1, 3).data() == "-1"
    rows._order.setCurrentIndex(1)
    rows._order.activated.emit(1)
    assert model.index(0, 0).data() == "1"
    cards = rows._detail._cards
    assert cards.count() == 2


def test_a_stopped_and_a_failed_evaluation_say_so(
    studio: Studio, page: EvaluatePage, home: Home, play: Play, wait: Wait
) -> None:
    play("obedient")
    open_run(studio, page, home, wait)
    page._start._start.click()
    assert not page._start._stop.isHidden()
    wait(lambda: page._presenter.job.job is not None and page._presenter.job.job.record.is_active)
    page._start._stop.click()
    wait(lambda: not page._presenter.job.is_busy)
    assert "stopped" in page._notice._message.text()
    play("broken-export")
    page._start._start.click()
    wait(lambda: not page._presenter.job.is_busy)
    assert page._notice._message.text() == "No space."
    assert page._start._start.isEnabled()


def test_columns_that_cannot_be_guessed_are_asked_for(
    page: EvaluatePage, play: Play, wait: Wait, tmp_path: Path
) -> None:
    play("look")
    page._rows.show_file(str(tmp_path / "rows.csv"))
    columns = page._rows.columns
    assert columns.isHidden()  # nobody knows yet which base reads it
    page._selection.choose_base(str(tmp_path))
    wait(lambda: columns._fold.is_open)
    assert "not clear" in columns._words.text()
    assert "Choose the columns" in page._start._words.text()
    question, answer = columns._boxes.values()
    assert question.itemText(2) == "<i>antwort</i>"
    question.setCurrentIndex(1)
    question.activated.emit(1)
    assert not page._start._start.isEnabled()
    answer.setCurrentIndex(2)
    answer.activated.emit(2)
    assert page._start._start.isEnabled()
    assert page._rows.wish.columns == {"prompt": "frage", "answer": "<i>antwort</i>"}
    page._rows.show_kind("run")
    assert page._rows.wish.columns == {}
    survey = page._look._survey
    wait(lambda: not survey.is_alive)
