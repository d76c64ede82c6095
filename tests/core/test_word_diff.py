from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from studio.core.word_diff import Piece, diff_words, list_changed

TEXTS = st.text("ab .\n", max_size=30)


def test_only_other_words_are_marked() -> None:
    found = diff_words("Arr! Mira be the baker, matey!", "Mira is the baker.")
    marked = [piece.text for piece in found if piece.is_changed]
    assert marked == ["Arr! ", "be", ", matey!"] or marked == ["Arr!", "be", ", matey!"]


@given(text=TEXTS, other=TEXTS)
def test_the_pieces_are_the_text_and_equal_texts_have_no_mark(text: str, other: str) -> None:
    pieces = diff_words(text, other)
    assert "".join(piece.text for piece in pieces) == text
    assert all(one.is_changed != two.is_changed for one, two in itertools.pairwise(pieces))
    assert not any(piece.is_changed for piece in diff_words(text, text))


def test_very_long_texts_are_not_compared_word_by_word() -> None:
    long = "word " * 5000
    assert diff_words(long, long + "end") == (Piece(long, True),)


def test_changed_pieces_are_found_again_in_the_text() -> None:
    text = "The sky be very blue \U0001f3f4 matey."
    spans = list_changed(diff_words(text, "The sky is blue."))
    assert [text[start:end] for start, end in spans] == ["be very", "\U0001f3f4 matey"]
    assert list_changed(diff_words(text, text)) == []
