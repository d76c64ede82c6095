"""Plain texts in tokens without offsets: by the twin where it pays, watched as it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.example import Ids
from studio.engine.data.twin.twin import Twin, build_twin

PAYS_FROM = 48
"""Characters per entry of the vocabulary: tokenising so many costs as much as building a twin."""

Flat = tuple[Ids, NDArray[np.int64]]
"""The tokens of several texts one after the other, and how many each has."""


class QuickTokens:
    """Tokenises by the model's own tokenizer first, and by its twin once there is much to do.

    One text of each call is tokenised by both. ``is_disproved`` tells that they differed; from then
    on the twin is not used again, and what it did before has to be done anew.
    """

    def __init__(self, backend: Any, vocabulary: int) -> None:
        """Take a tokenizer of HF and the number of its tokens."""
        self._backend = backend
        self._twin: Twin | None = None
        self._characters_left = PAYS_FROM * vocabulary
        self._is_sought = False
        self._calls = 0
        self.is_disproved = False

    def expect(self, characters: int) -> None:
        """Note how much text comes next; the twin is built where all so far would have paid it."""
        if self._is_sought:
            return
        self._characters_left -= characters
        if self._characters_left <= 0:
            self._is_sought = True
            self._twin = build_twin(self._backend)

    def covers(self, text: str) -> bool:
        """Return whether a text can be counted: ASCII, and what the twin is certain of."""
        return text.isascii() or (self._twin is not None and self._twin.covers(text))

    def encode(self, texts: Sequence[str]) -> Flat:
        """Return the tokens of some texts that are covered."""
        twin = self._twin
        if twin is not None and twin.is_disproved:  # perhaps by another thread
            self.is_disproved = True
            twin = self._twin = None
        if twin is None:
            return self._encode_slowly(texts)
        is_covered = np.array([twin.covers(text) for text in texts], dtype=np.bool_)
        covered = [text for text, one in zip(texts, is_covered, strict=True) if one]
        found = twin.encode(covered) if covered else None
        if found is None:
            return self._encode_slowly(texts)
        if not self._is_right(covered, found):
            twin.is_disproved = self.is_disproved = True
            self._twin = None
            return self._encode_slowly(texts)
        if len(covered) == len(texts):
            return found
        rest = [text for text, one in zip(texts, is_covered, strict=True) if not one]
        return _join(is_covered, found, self._encode_slowly(rest))

    def _is_right(self, texts: Sequence[str], found: Flat) -> bool:
        """Return whether one of the texts has the same tokens when done by the tokenizer itself."""
        ids, counts = found
        place = self._calls % len(texts)
        self._calls += 1
        stop = int(counts[: place + 1].sum())
        own, _ = self._encode_slowly([texts[place]])
        return np.array_equal(ids[stop - int(counts[place]) : stop], own)

    def _encode_slowly(self, texts: Sequence[str]) -> Flat:
        encodings = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        numbers: list[int] = []
        counts = []
        for encoding in encodings:
            ids = encoding.ids
            counts.append(len(ids))
            numbers += ids
        return np.array(numbers, dtype=np.int32), np.array(counts, dtype=np.int64)


def _join(is_first: NDArray[np.bool_], first: Flat, second: Flat) -> Flat:
    """Return two sets of texts in one order: of the first where ``is_first`` says so."""
    counts = np.empty(len(is_first), dtype=np.int64)
    counts[is_first], counts[~is_first] = first[1], second[1]
    ids = np.empty(len(first[0]) + len(second[0]), dtype=np.int32)
    belongs = np.repeat(is_first, counts)
    ids[belongs], ids[~belongs] = first[0], second[0]
    return ids, counts
