"""Where the tokens of plain text begin and end, counted instead of asked for.

Byte-level tokenizers lose nothing: the lengths of a row's tokens add up to the row. So they may run
without keeping offsets, which saves a seventh of their time. Whatever does not add up, or where a
span does not begin and end with a token, is left to the tokenizer's own offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.answers import Span
from studio.engine.data.example import Ids

_PRINTABLE = (*range(33, 127), *range(161, 173), *range(174, 256))
_ALPHABET = frozenset(
    [chr(one) for one in _PRINTABLE] + [chr(256 + one) for one in range(256 - len(_PRINTABLE))]
)
"""The 256 characters by which byte-level tokenizers write bytes (as GPT-2 does)."""


class ByteSpans:
    """The lengths in bytes of all tokens of one tokenizer."""

    def __init__(self, lengths: NDArray[np.int64]) -> None:
        self._lengths = lengths

    @classmethod
    def of(cls, backend: Any) -> ByteSpans | None:
        """Return the lengths, or None where tokens do not stand for bytes one by one."""
        if backend.normalizer is not None:
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

    def find(
        self, ids: Ids, text: str, spans: Sequence[Span], head_characters: int
    ) -> tuple[list[Span], int] | None:
        """Return the spans of ASCII text in tokens, and the number of tokens before its head.

        None where that cannot be told by counting.
        """
        if not len(ids):
            return None
        sizes = self._lengths[ids]
        ends = np.cumsum(sizes)
        if int(ends[-1]) != len(text) or not sizes.all():
            return None
        wanted = [place for span in spans for place in span]
        if any(
            start >= end or text[start].isspace() or text[end - 1].isspace() for start, end in spans
        ):
            return None
        firsts = np.searchsorted(ends, [*wanted[::2], head_characters], side="right").tolist()
        lasts = np.searchsorted(ends, wanted[1::2], side="left").tolist()
        found: list[Span] = []
        for (start, end), first, last in zip(spans, firsts, lasts, strict=False):
            begin = int(ends[first]) - int(sizes[first])
            if int(ends[last]) != end or text[begin:start].strip():
                return None
            found.append((first, last + 1))
        if head_characters <= 0:
            return found, 0
        if head_characters >= len(text) or text[head_characters].isspace():
            return None
        return found, firsts[-1]
