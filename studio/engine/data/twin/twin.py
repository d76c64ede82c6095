"""The twin of a tokenizer: the same tokens for plain text, made by tiktoken."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.byte_spans import leaves_ascii_alone
from studio.engine.data.example import Ids
from studio.engine.data.twin.letters import doubtful_letters, reads_letters_alike
from studio.engine.data.twin.marks import Marks, read_marks
from studio.engine.data.twin.pieces import find_pattern
from studio.engine.data.twin.ranks import Ranks, read_ranks

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
_BETWEEN = "\0\1\2\3"
"""Stands between texts that are tokenised by one call; its end is not its beginning."""
_LONG_BLANK = re.compile(r"\s{10000}")
"""The twin's regular expressions run out of memory at several hundred thousand blanks."""
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_KINDS = ("s", "T", "7", " ", "\n", "\r", "'", ".")
"""One character of each kind that the regular expressions of tokenizers tell apart."""


class Twin:
    """Tokenises plain text; ``is_disproved`` says that it was seen to do so wrongly."""

    def __init__(self, pattern: str, ranks: Ranks, marks: Marks, form: Form | None = None) -> None:
        """Take what describes a tokenizer; ``form`` is the normal form of Unicode it makes."""
        import tiktoken

        first = len(ranks.ids)
        special = {name: first + place for place, name in enumerate(marks.numbers)}
        self._between = first + len(special)
        self._encoding = tiktoken.Encoding(
            "twin",
            pat_str=pattern,
            mergeable_ranks=ranks.ranks,
            special_tokens={**special, _BETWEEN: self._between},
        )
        self.marks = tuple(special)
        self.is_disproved = False
        self._allowed = frozenset((*special, _BETWEEN))
        self._unsure = marks.unsure
        self._form = form
        self._doubtful = doubtful_letters() if reads_letters_alike(pattern) else _BEYOND_ASCII
        own = np.array(list(marks.numbers.values()), dtype=np.int32)
        self._ids: Ids = np.concatenate([ranks.ids, own, np.array([-1], dtype=np.int32)])

    def covers(self, text: str) -> bool:
        """Return whether the tokens of a text are certain to be the same."""
        if any(mark in text for mark in self._unsure):
            return False
        if not text.isascii():
            if self._doubtful.search(text):
                return False
            if self._form and not unicodedata.is_normalized(self._form, text):
                return False
        return len(text) < 10_000 or not _LONG_BLANK.search(text)

    def encode(self, texts: Sequence[str]) -> tuple[Ids, NDArray[np.int64]] | None:
        """Return the tokens of all texts one after the other, and how many each has.

        None where a text holds what is put between texts. All must be covered.
        """
        found = self._encoding.encode_to_numpy(
            _BETWEEN.join(texts), allowed_special=self._allowed, disallowed_special=()
        )
        is_between = found == self._between
        stops = np.append(np.flatnonzero(is_between), len(found))
        if len(stops) != len(texts):
            return None
        counts = np.diff(stops, prepend=-1) - 1
        return self._ids[found[~is_between]], counts


def build_twin(backend: Any) -> Twin | None:
    """Return the twin of a tokenizer of HF; None where it has none or tiktoken is not there.

    It is proven to merge alike, and that it divides texts alike is tried with all kinds of
    characters and all marks.
    """
    if not has_tiktoken() or backend.encode_special_tokens:
        return None
    twin = _build(backend.to_str()) if leaves_ascii_alone(backend.normalizer) else None
    if twin is None or twin.is_disproved or not _is_alike(twin, backend):
        return None
    return twin


def has_tiktoken() -> bool:
    """Return whether tiktoken is installed; without it nothing is missing but speed."""
    return importlib.util.find_spec("tiktoken") is not None


@lru_cache(maxsize=2)
def _build(text: str) -> Twin | None:
    """Return the twin of the tokenizer that a tokenizer.json describes."""
    described = json.loads(text)
    form: Form | None = (described["normalizer"] or {}).get("type")
    marks = read_marks(described["added_tokens"], is_normalized=bool(form))
    pattern = find_pattern(described["pre_tokenizer"])
    if pattern is None or any(set(_BETWEEN) & set(name) for name in marks.numbers):
        return None
    ranks = read_ranks(described["model"], list(marks.numbers))
    return None if ranks is None else Twin(pattern, ranks, marks, form)


def _is_alike(twin: Twin, backend: Any) -> bool:
    texts = [text for text in _write_samples(twin.marks) if twin.covers(text)]
    found = twin.encode(texts)
    if found is None:
        return False
    encodings = backend.encode_batch_fast(texts, add_special_tokens=False)
    numbers = [number for encoding in encodings for number in encoding.ids]
    counts = [len(encoding) for encoding in encodings]
    return bool(found[0].tolist() == numbers and found[1].tolist() == counts)


def _write_samples(marks: Iterable[str]) -> Iterator[str]:
    """Yield texts with all pairs of ASCII characters, four kinds in a row, and all marks."""
    letters = [chr(one) for one in range(128)]
    for first in letters:
        yield "".join(first + second for second in letters)
    for kinds in itertools.product(_KINDS, repeat=4):
        yield "".join(kinds)
    for mark in marks:
        yield f"{mark}a {mark}\n{mark}{mark} b"
    yield "Größe “naïve” — 5 € … « été »\u00a0!  中文、12 字。\u3000Ждём 🚀 नमस्ते e\u0301"
    yield "I'm he's It'S don't we'LL they've I'd you're 'sa 'S 1234567 12,345.67"
