"""Open places are filled in one window, in the entries of the files that have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from studio.core.events.survey import OpenPlace
from studio.core.events.types import DataProblemFound
from studio.core.jobs.orders import LookAt
from studio.gui.app import Studio
from studio.gui.pages.data.page import DataPage
from studio.gui.pages.data.places_dialog import PlacesDialog, join_places
from studio.gui.widgets.buttons import Button
from tests.gui.pages.surveying import LIMITS, SURVEYED, Child, open_survey

PLACES = (
    OpenPlace(name="name", files="train", source=0, rows=3, quote="I am {{name}}."),
    OpenPlace(name="author", files="train", source=1, rows=5),
    OpenPlace(name="name", files="train", source=1, rows=4),
    OpenPlace(name="name", files="validation", source=0, rows=1),
)
FOUND = DataProblemFound(
    code="unfilled_places", message="Rows with places: 9.", rows=9, is_listed=True
)


@pytest.fixture
def child(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot) -> Child:
    """A survey that has found open places in two training files and a validation file."""
    studio.window.show_page("data")
    studio.window.show()
    files = []
    for name in ("a.jsonl", "b.jsonl", "v.jsonl"):
        (tmp_path / name).write_text('{"prompt": "a", "completion": "b"}\n')
        files.append({"source": str(tmp_path / name)})
    draft = studio.context.draft
    draft.set_values(
        {"base.model": "some/model", "data.train": files[:2], "data.validation": files[2:]}
    )
    page = studio.window.get_page("data")
    assert isinstance(page, DataPage)
    child = open_survey(page, studio, monkeypatch, qtbot)
    child.say(SURVEYED.model_copy(update={"places": PLACES}), FOUND, LIMITS)
    return child


def open_dialog(studio: Studio, words: str) -> PlacesDialog:
    """Returns the window after a click on the button of the finding."""
    page = studio.window.get_page("data")
    buttons = {one.text(): one for one in page.findChildren(Button)}
    buttons[words].click()
    return studio.window.findChildren(PlacesDialog)[-1]


def press(dialog: PlacesDialog, words: str) -> None:
    """Presses a button of the window."""
    next(one for one in dialog.findChildren(Button) if one.text() == words).click()


def fills(studio: Studio) -> list[Any]:
    """Returns the words for places of all files of the draft."""
    draft = studio.context.draft
    return [
        one.get("fill", {})
        for path in ("train", "validation")
        for one in draft.get_value(f"data.{path}")
    ]


def test_words_go_to_the_files_that_have_the_place(
    studio: Studio, child: Child, qtbot: QtBot
) -> None:
    dialog = open_dialog(studio, "Fill them in…")
    lines = {one.accessibleName(): one for one in dialog.findChildren(QLineEdit)}
    assert list(lines) == ["Words for {{name}}", "Words for {{author}}"]
    lines["Words for {{name}}"].setText("Ada")
    before = child.last(LookAt).request
    press(dialog, "&Fill in")
    assert fills(studio) == [{"name": "Ada"}, {"name": "Ada"}, {"name": "Ada"}]
    qtbot.waitUntil(lambda: child.last(LookAt).request > before)
    assert child.last(LookAt).data["train"][0]["fill"] == {"name": "Ada"}
    # It is one change, and what was put in is shown and can be changed.
    studio.context.draft.undo()
    assert fills(studio) == [{}, {}, {}]
    press(open_dialog(studio, "Fill them in…"), "&Cancel")
    studio.context.draft.set_value(
        "data.train",
        [{**one, "fill": {"name": "Ada"}} for one in studio.context.draft.get_value("data.train")],
    )
    done = FOUND.model_copy(update={"code": "places_filled"})
    child.say(SURVEYED.model_copy(update={"places": PLACES}), done, LIMITS)
    dialog = open_dialog(studio, "Change the words…")
    assert dialog.findChildren(QLineEdit)[0].text() == "Ada"
    dialog.findChildren(QLineEdit)[0].setText("")
    dialog.findChildren(QLineEdit)[1].setText("Bob")
    press(dialog, "&Fill in")
    assert fills(studio) == [{}, {"author": "Bob"}, {}]


def test_rows_whose_places_stay_open_are_left_out_on_request(studio: Studio, child: Child) -> None:
    dialog = open_dialog(studio, "Fill them in…")
    assert child.last(LookAt).data["leave_out"] == []
    dialog.findChildren(QLineEdit)[0].setText("Ada")
    press(dialog, "&Leave these rows out")
    assert fills(studio)[0] == {"name": "Ada"}
    assert studio.context.draft.get_value("data.leave_out") == ["unfilled_places"]


def test_the_places_keep_their_order_when_some_are_filled() -> None:
    found = [
        OpenPlace(name=name, files="train", source=0, rows=rows, quote="")
        for name, rows in (("name", 3), ("author", 3), ("town", 5))
    ]
    for places in (found, found[::-1]):
        assert [one.name for one in join_places(places, {})] == ["town", "author", "name"]
