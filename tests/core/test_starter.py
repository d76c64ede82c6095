"""The starter kit as the program reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core import starter
from studio.core.errors import FileUnusable
from studio.core.recipe.check import check_recipe
from studio.core.starter import Behaviour, load_starter


def test_every_data_set_makes_a_recipe_without_errors() -> None:
    kit = load_starter()
    for data_set in kit.data_sets:
        recipe = kit.build_recipe(data_set)
        problems = check_recipe(recipe, base_folder=kit.folder)
        assert [problem for problem in problems if problem.severity == "error"] == []
        assert recipe.name == data_set.title
        assert len(kit.load_held_out_prompts(data_set)) >= 20


def test_the_data_set_to_begin_with_is_one_of_them() -> None:
    kit = load_starter()
    assert kit.get_data_set().name == kit.default_data_set


def test_an_unknown_data_set_names_those_there_are() -> None:
    with pytest.raises(FileUnusable, match="pirate"):
        load_starter().get_data_set("opera")


@pytest.mark.parametrize(
    ("behaviour", "answer", "is_shown"),
    [
        (Behaviour(kind="regex", pattern=r"\bahoy\b"), "Well, ahoy there", True),
        (Behaviour(kind="regex", pattern=r"\bahoy\b"), "Well, hello there", False),
        (Behaviour(kind="json_object"), '{"answer": 3}', True),
        (Behaviour(kind="json_object"), "[3]", False),
        (Behaviour(kind="json_object"), "It is 3.", False),
    ],
)
def test_a_behaviour_is_seen_in_an_answer(
    behaviour: Behaviour, answer: str, is_shown: bool
) -> None:
    assert behaviour.is_shown_by(answer) is is_shown


def test_a_damaged_kit_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starter").mkdir()
    (tmp_path / "starter" / "starter.json").write_text('{"title": 3', encoding="utf-8")
    monkeypatch.setattr(starter, "resource_folder", lambda: tmp_path)
    with pytest.raises(FileUnusable, match="cannot be read") as caught:
        load_starter()
    assert "again" in caught.value.remedy
