"""Making rows fit: the prompt is cut, the answer never; running text is divided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.engine.data.answers import Span
from studio.engine.data.example import Flags, Ids
from studio.engine.data.tokenize import Encoded


@dataclass(frozen=True)
class Piece:
    """Which tokens of a row make one example.

    Those from ``start`` to ``end`` without those from ``cut[0]`` to ``cut[1]``; the first
    ``context`` of them are read and not trained.
    """

    start: int
    end: int
    cut: Span = (0, 0)
    context: int = 0

    @property
    def truncated_tokens(self) -> int:
        """How many tokens of the row are cut away."""
        return self.cut[1] - self.cut[0]

    def take(self, encoded: Encoded) -> tuple[Ids, Flags]:
        """Return the tokens and their flags; shape ``(tokens,)`` each."""
        ids = encoded.ids[self.start : self.end]
        supervised = encoded.supervised[self.start : self.end]
        if self.truncated_tokens:
            first, behind = self.cut[0] - self.start, self.cut[1] - self.start
            ids = np.concatenate([ids[:first], ids[behind:]])
            supervised = np.concatenate([supervised[:first], supervised[behind:]])
        supervised[: self.context] = False
        return ids, supervised


def fit_conversation(encoded: Encoded, max_tokens: int) -> Piece | None:
    """Return the row with at most ``max_tokens`` tokens, or None if its last answer cannot fit.

    What stands before the first question (BOS, system message) is kept if that leaves room; the
    tokens behind it go first. An earlier answer that is reached goes as a whole.
    """
    excess = len(encoded.ids) - max_tokens
    if excess <= 0:
        return Piece(0, len(encoded.ids))
    for head in (encoded.head_tokens, encoded.bos_tokens, 0):
        cut = _cut(encoded.answers, head, excess)
        if cut is not None:
            return Piece(0, len(encoded.ids), cut)
    return None


def divide_text(encoded: Encoded, max_tokens: int, overlap_tokens: int = 0) -> list[Piece]:
    """Return running text as consecutive examples of at most ``max_tokens`` tokens.

    Each piece but the first begins with ``overlap_tokens`` of the piece before it as context that
    is not trained; at most half of a piece is overlap.
    """
    overlap = min(overlap_tokens, max_tokens // 2)
    pieces = []
    start = 0
    while True:
        end = min(start + max_tokens, len(encoded.ids))
        pieces.append(Piece(start, end, context=overlap if start else 0))
        if end == len(encoded.ids):
            return pieces
        start += max_tokens - overlap


def _cut(answers: tuple[Span, ...], head: int, excess: int) -> Span | None:
    """Return which tokens go, from ``head`` on, or None if an answer would be hurt."""
    end = head + excess
    for first, behind in answers[:-1]:
        if first < head:
            return None
        if first < end < behind:
            end = behind
    return (head, end) if end <= answers[-1][0] else None
