"""Which words of one answer another answer does not have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Differences:
    """Where a text differs from another: ``spans`` are (start, end) in characters of it.

    ``same_fraction`` is the share of words that both have in the same order, 0 to 1: twice their
    count by the count of all words of both.
    """

    spans: tuple[tuple[int, int], ...]
    same_fraction: float


def find_differences(reference: str, text: str) -> Differences:
    """Returns the words of ``text`` that are not in ``reference`` at the same place.

    Words that follow each other become one span; blanks alone are never marked, and a change of
    capitals counts.
    """
    ours = [(match.start(), match.end()) for match in _WORD.finditer(text)]
    words = [text[start:end] for start, end in ours]
    others = _WORD.findall(reference)
    matcher = SequenceMatcher(None, others, words, autojunk=False)
    spans = []
    for kind, _, _, first, last in matcher.get_opcodes():
        if kind != "equal" and last > first:
            spans.append((ours[first][0], ours[last - 1][1]))
    return Differences(tuple(spans), matcher.ratio())
