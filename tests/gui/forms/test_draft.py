from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from studio.core.recipe.load import parse_recipe
from studio.core.recipe.schema import Recipe
from studio.gui.forms.draft import Draft, build_defaults, find_adapter_settings, merge_values

COMPLETE = {"base.model": "/models/small", "data.train": [{"source": "/data/rows.jsonl"}]}


@pytest.fixture
def draft(qtbot: QtBot, tmp_path: Path) -> Draft:
    return Draft(tmp_path / "draft.json")


def test_a_new_draft_lacks_only_model_and_data(draft: Draft) -> None:
    assert draft.recipe is None
    assert {problem.path for problem in draft.problems} == {"base.model", "data.train"}


def test_a_complete_draft_has_the_defaults_of_the_schema(draft: Draft) -> None:
    draft.set_values(COMPLETE)
    wanted = parse_recipe(
        {"base": {"model": "/models/small"}, "data": {"train": [{"source": "/data/rows.jsonl"}]}}
    )
    assert draft.recipe == wanted
    draft.close()


def test_a_change_is_told_once_with_its_path(draft: Draft, qtbot: QtBot) -> None:
    told: list[str] = []
    draft.changed.connect(told.append)
    draft.set_value("adapter.rank", 8)
    draft.set_value("adapter.rank", 8)
    assert told == ["adapter.rank"]
    draft.close()


def test_a_wrong_value_is_kept_and_named(draft: Draft) -> None:
    draft.set_values({**COMPLETE, "adapter.rank": 0})
    assert draft.recipe is None
    assert [problem.path for problem in draft.problems] == ["adapter.rank"]
    assert draft.get_value("adapter.rank") == 0
    draft.close()


def test_the_draft_is_on_disk_shortly_after_a_change(draft: Draft, qtbot: QtBot) -> None:
    draft.set_value("name", "kept")
    qtbot.waitUntil(draft._path.exists)
    assert Draft(draft._path).get_value("name") == "kept"


def test_closing_writes_what_was_not_written_yet(draft: Draft) -> None:
    draft.set_value("name", "last second")
    draft.close()
    assert Draft(draft._path).get_value("name") == "last second"


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_file_starts_from_the_defaults_and_is_kept(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "draft.json"
    path.write_bytes(content)
    draft = Draft(path)
    assert draft.get_values() == build_defaults()
    assert draft.trouble is not None
    draft.set_value("name", "new")
    draft.save()
    assert Draft(path).get_value("name") == "new"
    assert Draft(path).trouble is None
    assert path.with_name("draft.json.damaged").read_bytes() == content


def test_a_file_that_is_damaged_meanwhile_does_not_empty_the_form(draft: Draft) -> None:
    draft.set_value("name", "mine")
    draft.save()
    draft._path.write_bytes(b"\x00" * 40)
    draft.refresh()
    assert draft.get_value("name") == "mine"


def test_loading_a_recipe_replaces_everything(draft: Draft) -> None:
    draft.set_value("train.epochs", 7.0)
    recipe = parse_recipe(
        {"name": "other", "base": {"model": "m"}, "data": {"train": [{"source": "d"}]}}
    )
    draft.load(recipe)
    assert draft.recipe == recipe
    draft.close()


def test_values_handed_out_are_copies(draft: Draft) -> None:
    draft.set_value("data.train", [{"source": "a"}])
    draft.get_value("data.train").append("b")
    assert draft.get_value("data.train") == [{"source": "a"}]
    draft.close()


def test_the_adapter_is_known_before_model_and_data(draft: Draft) -> None:
    settings = find_adapter_settings(draft)
    assert settings is not None
    assert settings == Recipe.model_fields["adapter"].default
    draft.set_value("adapter.rank", -1)
    assert find_adapter_settings(draft) is None
    draft.close()


def test_a_second_window_on_the_same_home_loses_nothing(draft: Draft, tmp_path: Path) -> None:
    draft.set_value("name", "first")
    draft.save()
    other = Draft(draft._path)
    other.set_value("name", "from the other window")
    other.set_value("adapter.rank", 4)
    other.close()
    draft.refresh()  # the first window is used again
    assert (draft.get_value("name"), draft.get_value("adapter.rank")) == (
        "from the other window", 4
    )  # fmt: skip
    draft.set_value("adapter.alpha", 8.0)
    draft.close()
    assert Draft(draft._path).get_value("name") == "from the other window"
    draft.undo()
    draft.undo()
    assert draft.get_value("name") == "first"
    draft.close()


def test_a_folder_that_cannot_be_written_is_told(qtbot: QtBot, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("no folder")
    draft = Draft(blocker / "draft.json")
    with qtbot.waitSignal(draft.save_failed):
        draft.set_value("name", "x")


@given(st.dictionaries(st.sampled_from(["base", "train", "name", "x"]), st.integers()))
def test_merging_keeps_the_keys_of_the_defaults(kept: dict[str, int]) -> None:
    assert set(merge_values(build_defaults(), kept)) == set(build_defaults())
