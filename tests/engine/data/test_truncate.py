"""Making rows fit without hurting answers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from studio.engine.data.tokenize import Encoded
from studio.engine.data.truncate import divide_text, fit_conversation


def encoded(length: int, answers: list[tuple[int, int]], head: int = 0, bos: int = 0) -> Encoded:
    ids = np.arange(length, dtype=np.int32)
    return Encoded(ids, tuple(answers), tuple(answers), head, bos, ())


@st.composite
def rows(draw: st.DrawFn) -> Encoded:
    lengths = draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=5)
    )
    at, answers = 0, []
    for before, answer in lengths:
        answers.append((at + before, at + before + answer))
        at += before + answer
    bos = int(answers[0][0] > 0 and draw(st.booleans()))
    head = draw(st.integers(bos, answers[0][0]))
    return encoded(at + draw(st.integers(0, 2)), answers, head, bos)


@given(row=rows(), limit=st.integers(1, 60))
def test_a_cut_row_fits_and_keeps_its_last_answer_whole(row: Encoded, limit: int) -> None:
    piece = fit_conversation(row, limit)
    first, _ = row.answers[-1]
    if piece is None:
        assert len(row.ids) - first > limit
        return
    ids, supervised = piece.take(row)
    assert len(ids) <= limit or piece.truncated_tokens == 0
    assert len(ids) + piece.truncated_tokens == len(row.ids)
    assert piece.truncated_tokens == 0 or len(row.ids) > limit
    kept = set(ids.tolist())
    assert kept >= set(range(first, len(row.ids)))
    for start, behind in row.answers:  # whole or gone
        assert len(kept & set(range(start, behind))) in (0, behind - start)
    assert (supervised == row.supervised[ids]).all()


def test_the_beginning_stays_and_the_question_is_cut() -> None:
    row = encoded(20, [(15, 20)], head=4, bos=1)
    piece = fit_conversation(row, 12)
    assert piece is not None
    assert piece.take(row)[0].tolist() == [0, 1, 2, 3, *range(12, 20)]
    assert piece.truncated_tokens == 8
    tight = fit_conversation(row, 6)  # no room for the system message
    assert tight is not None
    assert tight.take(row)[0].tolist() == [0, *range(15, 20)]
    assert fit_conversation(row, 5) is not None
    assert fit_conversation(row, 4) is None


@given(length=st.integers(1, 100), limit=st.integers(1, 40))
def test_divided_text_loses_nothing(length: int, limit: int) -> None:
    row = encoded(length, [])
    pieces = [piece.take(row)[0].tolist() for piece in divide_text(row, limit)]
    assert [number for piece in pieces for number in piece] == list(range(length))
    assert all(len(piece) <= limit for piece in pieces)
