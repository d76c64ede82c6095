"""Where the tokens of plain text begin and end, counted instead of asked for.

Byte-level tokenizers lose nothing: the lengths of a row's tokens add up to the row. So they may run
without keeping offsets, which saves a seventh of their time. Whatever does not add up, or where a
span does not begin and end with a token, is left to the tokenizer's own offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.answers import Span
from studio.engine.data.example import Ids

_HIDDEN = (*range(33), *range(127, 161), 173)
BYTE_LETTERS = tuple(
    chr(256 + _HIDDEN.index(byte)) if byte in _HIDDEN else chr(byte) for byte in range(256)
)
"""The characters by which byte-level tokenizers write the 256 bytes (as GPT-2 does)."""
_ALPHABET = frozenset(BYTE_LETTERS)
_NO_BLANKS = bytes(range(128)) + b"x" * 128
_LEAVE_ASCII_ALONE = ("NFC", "NFD", "NFKC", "NFKD")


class SpannedText(NamedTuple):
    """A text, the spans of characters to find in it, and where its first question starts."""

    text: str
    spans: tuple[Span, ...]
    head_characters: int


Counted = tuple[list[Span], int] | None
"""The spans in tokens and the tokens before the head; None where counting does not tell."""


class ByteSpans:
    """The lengths in bytes of all tokens of one tokenizer."""

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        self._lengths = lengths

    @classmethod
    def of(cls, backend: Any) -> ByteSpans | None:
        """Return the lengths, or None where tokens do not stand for bytes one by one."""
        if not leaves_ascii_alone(backend.normalizer):
            return None
        added = {number: one.content for number, one in backend.get_added_tokens_decoder().items()}
        vocabulary = backend.get_vocab(with_added_tokens=False)
        if not vocabulary or not _ALPHABET.issuperset("".join(vocabulary)):
            # tokens that are added may write anything
            plain = [token for token, number in vocabulary.items() if number not in added]
            if not plain or not _ALPHABET.issuperset("".join(plain)):
                return None
        highest = max((*vocabulary.values(), *added))
        lengths = np.zeros(highest + 1, np.int64)
        for token, number in vocabulary.items():
            lengths[number] = len(token)
        for number, content in added.items():
            lengths[number] = len(content.encode("utf-8", "surrogatepass"))
        return cls(lengths)

    def find(self, ids: Ids, counts: Sequence[int], texts: Sequence[SpannedText]) -> list[Counted]:
        """Return for each text its spans in tokens and the tokens before its head.

        None where that cannot be told by counting. ``ids`` are the tokens of all texts one after
        the other, ``counts`` how many each has.
        """
        seen = [_in_bytes(one) for one in texts]
        sizes = self._lengths[ids]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        each = np.array(counts, dtype=np.int64)
        stops = np.cumsum(each)
        starts = stops - each
        bases = ends[starts]
        are_counted = ends[stops] - bases == [len(one.text) for one in seen]
        are_counted[np.searchsorted(stops, np.flatnonzero(sizes == 0), side="right")] = False
        asked = [
            place
            for place in np.flatnonzero(are_counted).tolist()
            if counts[place] and _can_be_told(texts[place])
        ]
        edges = [edge for place in asked for span in seen[place].spans for edge in span]
        repeats = [len(texts[place].spans) for place in asked]
        offsets = np.repeat(bases[asked], repeats)
        begins, behinds = np.array(edges[::2], np.int64), np.array(edges[1::2], np.int64)
        heads = bases[asked] + [seen[place].head_characters for place in asked]
        firsts = np.searchsorted(ends[1:], offsets + begins, side="right")
        lasts = np.searchsorted(ends[1:], offsets + behinds, side="left")
        fits = ends[lasts + 1] - offsets == behinds
        tokens = np.repeat(starts[asked], repeats)
        spans = zip(
            (ends[firsts] - offsets).tolist(),
            fits.tolist(),
            (firsts - tokens).tolist(),
            (lasts - tokens + 1).tolist(),
            strict=True,
        )
        before = np.searchsorted(ends[1:], heads, side="right") - starts[asked]
        found: list[Counted] = [None] * len(texts)
        for place, head in zip(asked, before.tolist(), strict=True):
            own = list(islice(spans, len(texts[place].spans)))
            told = _join(seen[place], own)
            if told is not None:
                found[place] = told, head if texts[place].head_characters > 0 else 0
        return found


def leaves_ascii_alone(normalizer: Any | None) -> bool:
    """Return whether a normalizer of HF changes nothing in plain ASCII text."""
    return normalizer is None or type(normalizer).__name__ in _LEAVE_ASCII_ALONE


def _can_be_told(one: SpannedText) -> bool:
    """Return whether no edge lies in a blank, which belongs to the token of a neighbour."""
    text, head = one.text, one.head_characters
    if head > 0 and (head >= len(text) or text[head].isspace()):
        return False
    return not any(
        start >= end or text[start].isspace() or text[end - 1].isspace() for start, end in one.spans
    )


def _in_bytes(one: SpannedText) -> SpannedText:
    """Return the text with one character per byte of it; blanks beyond ASCII are none there."""
    text = one.text
    if text.isascii():
        return one
    places = {0: 0}
    last = 0
    for edge in sorted({one.head_characters, *(edge for span in one.spans for edge in span)}):
        places[edge] = places[last] + len(text[last:edge].encode())
        last = edge
    spans = tuple((places[start], places[end]) for start, end in one.spans)
    letters = text.encode().translate(_NO_BLANKS).decode("ascii")
    return SpannedText(letters, spans, places[one.head_characters])


def _join(one: SpannedText, found: Sequence[tuple[int, bool, int, int]]) -> list[Span] | None:
    """Return the spans in tokens, None where one does not end with a token or begins before it."""
    for (begin, fits, _, _), (start, _) in zip(found, one.spans, strict=True):
        if not fits or (begin != start and one.text[begin:start].strip()):
            return None
    return [(first, behind) for _, _, first, behind in found]
