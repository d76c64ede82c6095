"""Which byte strings a tokenizer can merge, in the order in which it merges them.

The model's tokenizer (HF) merges the neighbours that stand first in a list of pairs; the twin
(tiktoken) merges those whose bytes together are the token of lowest rank. Both begin at the left.
They always agree if the ranks hold exactly the tokens that HF makes of their own bytes alone, in
the order of the merge by which it makes them:

Let both be at the same point in the same text, and let two neighbours together be such a token T.
No merge so far crossed T's borders, so what happened between them is what happens first when T
stands alone. Alone, T passes through two neighbours only once, just before it is done, and those
are merged by a pair of the list. So the twin sees no pair that HF does not see. A token that HF
does not make of its own bytes alone is never made inside a text either, for the same reason: HF
sees no pair that the twin does not see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.byte_spans import BYTE_LETTERS
from studio.engine.data.example import Ids

_CHECKED_AT_ONCE = 8192
_BYTES = {ord(letter): chr(byte) for byte, letter in enumerate(BYTE_LETTERS)}
_LETTERS = frozenset(BYTE_LETTERS)
_MUST_BE_EMPTY = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")


class Ranks(NamedTuple):
    """Byte strings by rank, and the number that the model knows for each rank."""

    ranks: dict[bytes, int]
    ids: Ids


def read_ranks(model: Mapping[str, Any], added: Sequence[str]) -> Ranks | None:
    """Return the ranks of a byte-level BPE; None where equality is not certain.

    Args:
        model: The part of that name of a tokenizer.json.
        added: Tokens that are cut out of the text before it gets here.
    """
    vocabulary: Mapping[str, int] = model.get("vocab") or {}
    if model.get("type") != "BPE" or any(model.get(name) for name in _MUST_BE_EMPTY):
        return None
    if any(letter not in vocabulary for letter in BYTE_LETTERS):
        return None
    pairs = list(_iter_pairs(model["merges"]))
    order = _find_order(pairs, vocabulary)
    names = list(order)
    is_made = _check(vocabulary, pairs, names)
    if not all(order[name] for name, one in zip(names, is_made.tolist(), strict=True) if one):
        return None
    made = [name for name, one in zip(names, is_made.tolist(), strict=True) if one]
    if model.get("ignore_merges"):
        # Whole words are looked up first, also those that merging cannot make.
        rest = set(vocabulary).difference(made, BYTE_LETTERS, added)
        if any(_LETTERS.issuperset(name) for name in rest):
            return None
    every = [*BYTE_LETTERS, *made]
    raw = (name.translate(_BYTES).encode("latin-1") for name in every)
    ids = np.array([vocabulary[name] for name in every], dtype=np.int32)
    return Ranks({one: rank for rank, one in enumerate(raw)}, ids)


def _iter_pairs(merges: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for one in merges:
        first, second = one.split(" ") if isinstance(one, str) else one
        yield first, second


def _find_order(pairs: Sequence[tuple[str, str]], vocabulary: Mapping[str, int]) -> dict[str, bool]:
    """Return what is merged, in order, and whether its place in the order is certain.

    It is where all pairs for a token follow each other: then it does not matter which one is used.
    """
    order: dict[str, bool] = {}
    last = ""
    for first, second in pairs:
        name = first + second
        if name != last:
            order[name] = name not in order
            last = name
    return {
        name: is_certain
        for name, is_certain in order.items()
        if len(name) > 1 and name in vocabulary and _LETTERS.issuperset(name)
    }


def _check(
    vocabulary: Mapping[str, int], pairs: Sequence[tuple[str, str]], names: Sequence[str]
) -> NDArray[np.bool_]:
    """Return which tokens HF makes of their own bytes when it only merges."""
    from tokenizers import Tokenizer, models

    bare = Tokenizer(models.BPE(dict(vocabulary), list(pairs), cache_capacity=0))
    found = np.zeros(len(names), dtype=np.bool_)
    for start in range(0, len(names), _CHECKED_AT_ONCE):
        some = list(names[start : start + _CHECKED_AT_ONCE])
        encodings = bare.encode_batch_fast(some, add_special_tokens=False)
        for place, (name, encoding) in enumerate(zip(some, encodings, strict=True), start):
            found[place] = len(encoding) == 1 and encoding.ids[0] == vocabulary[name]
    return found
