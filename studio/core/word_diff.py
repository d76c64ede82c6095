"""Which words of a text another text does not have in the same order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

_MOST_WORDS = 3000
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True)
class Piece:
    """A run of a text; ``is_changed`` where the other text has something else or nothing."""

    text: str
    is_changed: bool


def diff_words(text: str, other: str) -> tuple[Piece, ...]:
    """Returns ``text`` in pieces, joined they are the text itself.

    Blanks between changed words count as changed, those beside equal words as equal. Texts of more
    than 3,000 words are equal or changed as a whole: comparing them would take seconds.
    """
    if text == other:
        return (Piece(text, False),) if text else ()
    words, others = _WORDS.findall(text), _WORDS.findall(other)
    if max(len(words), len(others)) > _MOST_WORDS:
        return (Piece(text, True),) if text else ()
    matcher = SequenceMatcher(None, words, others, autojunk=False)
    flags = [True] * len(words)
    for block in matcher.get_matching_blocks():
        flags[block.a : block.a + block.size] = [False] * block.size
    for place, word in enumerate(words):
        if word.isspace() and 0 < place < len(words) - 1:
            flags[place] = flags[place - 1] and flags[place + 1]
    pieces: list[Piece] = []
    for word, is_changed in zip(words, flags, strict=True):
        if pieces and pieces[-1].is_changed == is_changed:
            pieces[-1] = Piece(pieces[-1].text + word, is_changed)
        else:
            pieces.append(Piece(word, is_changed))
    return tuple(pieces)


def list_changed(pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    """Returns where the changed pieces begin and end in the text, in characters."""
    spans, start = [], 0
    for piece in pieces:
        end = start + len(piece.text)
        if piece.is_changed:
            spans.append((start, end))
        start = end
    return spans
