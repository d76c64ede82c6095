"""Making rows fit: the prompt is cut, the answer never; running text is divided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.engine.data.answers import Span
from studio.engine.data.example import Flags, Ids
from studio.engine.data.tokenize import Encoded


@dataclass(frozen=True)
class Piece:
    """One example cut from a row; arrays of the shape ``(tokens,)``."""

    ids: Ids
    supervised: Flags
    truncated_tokens: int = 0


def fit_conversation(encoded: Encoded, max_tokens: int) -> Piece | None:
    """Return the row with at most ``max_tokens`` tokens, or None if its last answer cannot fit.

    What stands before the first question (BOS, system message) is kept if that leaves room; the
    tokens behind it go first. An earlier answer that is reached goes as a whole.
    """
    excess = len(encoded.ids) - max_tokens
    if excess <= 0:
        return Piece(encoded.ids, encoded.supervised)
    for head in (encoded.head_tokens, encoded.bos_tokens, 0):
        cut = _cut(encoded.answers, head, excess)
        if cut is not None:
            keep = np.ones(len(encoded.ids), dtype=np.bool_)
            keep[cut[0] : cut[1]] = False
            return Piece(encoded.ids[keep], encoded.supervised[keep], cut[1] - cut[0])
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
        ids = encoded.ids[start : start + max_tokens]
        supervised = encoded.supervised[start : start + max_tokens]
        if start and overlap:
            supervised = supervised.copy()
            supervised[:overlap] = False
        pieces.append(Piece(ids, supervised))
        if start + max_tokens >= len(encoded.ids):
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
