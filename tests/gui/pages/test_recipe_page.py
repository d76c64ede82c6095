from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from studio.core.recipe.load import load_recipe, parse_recipe
from studio.core.recipe.problem import Problem
from studio.gui.app import Studio
from studio.gui.pages.recipe.files import make_absolute
from studio.gui.pages.recipe.page import RecipePage
from studio.gui.pages.recipe.summary import describe_problem, get_place
from studio.gui.widgets.buttons import Button


@pytest.fixture
def page(studio: Studio, qtbot: QtBot) -> RecipePage:
    studio.window.show_page("recipe")
    studio.window.show()
    page = studio.window.get_page("recipe")
    assert isinstance(page, RecipePage)
    return page


def choose_starter(studio: Studio) -> None:
    starter = studio.context.starter
    assert starter is not None
    studio.context.draft.load(starter.build_recipe(starter.get_data_set()))


def test_an_empty_draft_leads_to_model_and_data(page: RecipePage, qtbot: QtBot) -> None:
    texts = [describe_problem(p) for p in page._draft.problems]
    assert texts == ["No base model is chosen yet.", "No training data is chosen yet."]
    with qtbot.waitSignal(page.page_requested) as told:
        page._problems.setting_requested.emit("data.train")
    assert told.args == ["data"]


def test_the_adapter_is_counted_from_headers(
    page: RecipePage, studio: Studio, qtbot: QtBot
) -> None:
    with qtbot.waitSignal(studio.context.shelf.layers_loaded):
        choose_starter(studio)
    layers = studio.context.shelf.find_layers(studio.context.draft.get_value("base.model"))
    assert layers is not None
    rank = studio.context.draft.get_value("adapter.rank")
    linear = [m for m in layers.modules if m.form == "linear" and m.kind != "head"]
    wanted = sum(rank * sum(m.shape) for m in linear)
    assert page._size._count.toolTip() == f"{wanted:,}"
    assert page._size._modules.text() == str(len(linear))


def test_editing_changes_the_draft_and_the_count(
    page: RecipePage, studio: Studio, qtbot: QtBot
) -> None:
    with qtbot.waitSignal(studio.context.shelf.layers_loaded):
        choose_starter(studio)
    before = int(page._size._count.toolTip().replace(",", ""))
    rank = studio.context.draft.get_value("adapter.rank")
    page._sheet.form.value_edited.emit("adapter.rank", 2 * rank)
    assert int(page._size._count.toolTip().replace(",", "")) == 2 * before


def test_odd_settings_are_warned_about_beside_their_editor(
    page: RecipePage, studio: Studio, qtbot: QtBot
) -> None:
    choose_starter(studio)
    studio.context.draft.set_value("train.learning_rate", 0.9)
    row = page._sheet.form._rows["train.learning_rate"]
    qtbot.waitUntil(lambda: not row._problem.isHidden())
    assert row._problem.property("role") == "warning"


def test_an_error_takes_the_check_mark_of_the_step_away(
    page: RecipePage, studio: Studio, qtbot: QtBot
) -> None:
    button = studio.window._rail._buttons["recipe"]
    choose_starter(studio)
    assert button.accessibleName().endswith("done")
    studio.context.draft.set_value("data.train", [{"source": "/nowhere/rows.jsonl"}])
    qtbot.waitUntil(lambda: not button.accessibleName().endswith("done"))


def test_a_preset_is_marked_while_its_settings_hold(page: RecipePage, studio: Studio) -> None:
    cards = page._sheet.presets._cards
    assert len(cards) >= 3
    for card, values in cards:
        card.chosen.emit()
        assert card.property("chosen")
        assert all(studio.context.draft.get_value(path) == v for path, v in values.items())
    studio.context.draft.set_value("adapter.rank", 3)
    assert not any(card.property("chosen") for card, _values in cards)


def test_unfolded_sections_stay_unfolded(page: RecipePage, studio: Studio) -> None:
    page._sheet.form._folds["train"]._button.click()
    assert studio.context.preferences.get_texts("recipe_open_sections") == ["train"]
    page._sheet.form._folds["train"]._button.click()
    assert studio.context.preferences.get_texts("recipe_open_sections") == []


def test_a_recipe_is_saved_and_opened(
    page: RecipePage, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose_starter(studio)
    wanted = studio.context.draft.recipe
    path = tmp_path / "mine.yaml"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path.with_suffix("")), ""))
    page._files.save(wanted)
    assert load_recipe(path) == wanted
    studio.context.draft.set_value("adapter.rank", 99)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    page._files.open()
    assert studio.context.draft.recipe == wanted


def test_a_broken_recipe_file_is_told(
    page: RecipePage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("adapter: {rang: 8}")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    page._files.open()
    assert not page._notice.isHidden()


def test_an_incomplete_recipe_is_not_saved(page: RecipePage) -> None:
    page._files.save(None)
    assert "missing or wrong" in page._notice._message.text()


def test_file_names_of_an_opened_recipe_become_absolute(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    recipe = parse_recipe(
        {"base": {"model": "org/model"}, "data": {"train": [{"source": "rows.jsonl"}]}}
    )
    moved = make_absolute(recipe, tmp_path)
    assert moved.data.train[0].source == str((tmp_path / "rows.jsonl").resolve())
    assert moved.base.model == "org/model"


@pytest.mark.parametrize(
    ("path", "words"),
    [("base.model", "Choose a model"), ("data.train[0].source", "Choose data"),
     ("adapter.rank", "Go to Rank"), ("", "")],
)  # fmt: skip
def test_links_say_where_they_lead(path: str, words: str) -> None:
    assert get_place(path) == words


def test_a_problem_names_its_setting() -> None:
    problem = Problem("train.epochs", "must be above 0.", "Try 2.")
    assert describe_problem(problem) == "Epochs: must be above 0. Try 2."


def get_shown(page: RecipePage) -> set[str]:
    rows = page._sheet.form._rows
    return {path for path, row in rows.items() if row.isVisibleTo(page._sheet.form)}


def test_settings_are_found_by_a_word_folded_ones_too(page: RecipePage) -> None:
    before = get_shown(page)
    finder = page._sheet._finder
    finder._field.setText("optimizer")
    assert "train.optimizer" in get_shown(page)
    assert "name" not in get_shown(page)
    assert not page._sheet.presets.isVisible()
    finder._field.setText("no such setting anywhere")
    assert get_shown(page) == set()
    assert not page._sheet._nothing.isHidden()
    finder._field.clear()
    assert get_shown(page) == before
    assert page._sheet.presets.isVisible()


def test_changed_settings_are_marked_listed_and_reset(page: RecipePage, studio: Studio) -> None:
    draft, finder = studio.context.draft, page._sheet._finder
    assert finder._changed.text() == "Changed (0)"
    default = draft.get_value("train.seed")
    draft.set_values({"train.seed": 7, "adapter.rank": 64})
    assert finder._changed.text() == "Changed (2)"
    finder._changed.setChecked(True)
    assert get_shown(page) == {"train.seed", "adapter.rank"}
    row = page._sheet.form._rows["train.seed"]
    assert row._label.property("role") == "strong"
    row._reset.click()
    assert draft.get_value("train.seed") == default
    assert row._reset.isHidden()


def test_changes_are_taken_back_one_by_one(page: RecipePage, studio: Studio) -> None:
    draft = studio.context.draft
    assert not page._undo.isEnabled()
    draft.set_value("adapter.rank", 20)
    draft.set_value("adapter.rank", 21)  # one turn of the knob
    draft.set_value("adapter.alpha", 5.0)
    assert page._undo.accessibleName() == "Undo: Alpha"
    page._undo.click()
    assert (draft.get_value("adapter.rank"), draft.get_value("adapter.alpha")) == (21, 32.0)
    page._undo.click()
    assert draft.get_value("adapter.rank") == 16
    assert not page._undo.isEnabled()


def test_the_link_of_a_problem_is_spoken_as_it_is_written(page: RecipePage) -> None:
    page._problems.show_problems([Problem("train.epochs", "must be above 0.")])
    assert [link.accessibleName() for link in page._problems.findChildren(Button)] == [
        "Go to Epochs"
    ]


def test_a_problem_leads_to_its_setting_out_of_a_search(page: RecipePage) -> None:
    page._sheet._finder._field.setText("optimizer")
    page._problems.setting_requested.emit("adapter.alpha")
    assert page._sheet._finder._field.text() == ""
    assert page._sheet.form._rows["adapter.alpha"].isVisibleTo(page._sheet.form)


def test_a_model_that_cannot_be_used_is_not_called_missing() -> None:
    problem = Problem("base.model", "has no tokenizer.", "Choose another folder.")
    assert "has no tokenizer" in describe_problem(problem)


def test_a_preset_tells_on_hover_what_it_sets(page: RecipePage) -> None:
    card, values = page._sheet.presets._cards[0]
    assert f"Rank: {values['adapter.rank']}" in card.toolTip()
    assert "Learning rate: 2e-4" in card.toolTip()
