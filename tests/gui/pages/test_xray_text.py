"""How a row is shown token by token: without colour, with hidden signs, and however long."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from studio.core.events.survey import RowBand
from studio.gui.pages.data.xray_text import XrayText, build_formats
from studio.gui.pages.data.xray_words import (
    describe_row,
    explain_token,
    show_inline,
    split_signs,
)
from studio.gui.theme.tokens import DARK, LIGHT
from tests.gui.pages.surveying import ROW


def test_tokens_are_told_apart_without_colour(qtbot: QtBot) -> None:
    for colours in (LIGHT, DARK):
        tokens = build_formats(colours).tokens
        looks = {
            (form.fontUnderline(), form.fontStrikeOut(), form.fontOverline(), form.fontWeight())
            for form in tokens.values()
        }
        assert len(looks) == 6  # three fates, each as text and as a control mark


def test_hidden_signs_are_shown() -> None:
    assert split_signs("") == [("·", True)]
    assert show_inline("a b\n\tc\u200b") == "a␣b↵→c⟨200B⟩"
    assert show_inline("👩‍👩‍👧 汉") == "👩‍👩‍👧␣汉"
    assert split_signs("x\r\n") == [("x", False), ("↵\n", True)]


def test_each_token_is_found_where_it_stands(qtbot: QtBot) -> None:
    view = XrayText()
    qtbot.addWidget(view)
    view.show_row(ROW)
    text = view.toPlainText()
    found = [view.find_token(text.index(word)) for word in ("<user>", "Hi", "↵", "Arr", "<end>")]
    assert found == [0, 1, 2, 4, 5]
    assert view.find_token(text.index("User")) == -1
    assert "1 · User · cut away" in text
    with qtbot.waitSignal(view.token_pointed) as told:
        view.moveCursor(view.textCursor().MoveOperation.NextCharacter)
    assert told.args == [0]
    assert explain_token(ROW, 0).endswith("control mark, only read: written by the template")
    assert "cut away" in explain_token(ROW, 1)
    view.show_signs(False)
    assert "↵" not in view.toPlainText()
    view.show_row(None)
    assert view.toPlainText() == ""


def test_eight_thousand_tokens_are_shown_whole(qtbot: QtBot) -> None:
    count = 8192
    view = XrayText()
    qtbot.addWidget(view)
    row = ROW.model_copy(
        update={
            "ids": tuple(range(count)),
            "texts": tuple(f" w{number}" for number in range(count)),
            "fates": "r" * (count // 2) + "l" * (count // 2),
            "special": (),
            "bands": (RowBand(first=count // 2, behind=count, role="assistant", turn=1),),
        }
    )
    view.show_row(row)
    assert view.find_token(view.toPlainText().index("w8191")) == count - 1
    assert describe_row(row) == "rows.jsonl, line 1: 8,192 tokens, 4,096 learnt"
