"""Ranks make tiktoken merge exactly as HF does, proven on all short texts of random merges."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from tokenizers import Tokenizer, models

from studio.engine.data.byte_spans import BYTE_LETTERS
from studio.engine.data.twin.marks import Marks
from studio.engine.data.twin.pieces import GPT2
from studio.engine.data.twin.ranks import read_ranks
from studio.engine.data.twin.twin import Twin

TEXTS = ["".join(one) for size in range(1, 8) for one in itertools.product("ab", repeat=size)]
Pairs = Sequence[tuple[str, str]]


def describe(pairs: Pairs, *, looks_up: bool = False) -> dict[str, object]:
    names = dict.fromkeys([*BYTE_LETTERS, *(first + second for first, second in pairs)])
    vocabulary = {name: number for number, name in enumerate(names)}
    return {"type": "BPE", "vocab": vocabulary, "merges": list(pairs), "ignore_merges": looks_up}


def is_alike(pairs: Pairs, *, looks_up: bool = False) -> bool | None:
    """Return whether all short texts have the same tokens; None where there are no ranks."""
    model = describe(pairs, looks_up=looks_up)
    ranks = read_ranks(model, [])
    if ranks is None:
        return None
    own = Tokenizer(models.BPE(model["vocab"], list(pairs), ignore_merges=looks_up))
    found = Twin(GPT2, ranks, Marks({}, ())).encode(TEXTS)
    assert found is not None
    encodings = own.encode_batch(TEXTS, add_special_tokens=False)
    return found[0].tolist() == [number for one in encodings for number in one.ids]


def draw(chance: random.Random) -> Pairs:
    known, pairs = ["a", "b"], []
    for _ in range(chance.randrange(1, 9)):
        pair = chance.choice(known), chance.choice(known)
        if pair not in pairs:
            pairs.append(pair)
            known.append("".join(pair))
    return pairs


def test_random_merges_are_read_alike_or_refused() -> None:
    chance = random.Random(4)
    found = [is_alike(draw(chance), looks_up=one % 3 == 0) for one in range(400)]
    assert False not in found
    assert found.count(True) > 200
    assert found.count(None) > 20


def test_a_token_that_merging_cannot_make_is_not_made() -> None:
    pairs = [("b", "b"), ("a", "b"), ("ab", "b")]  # abb is a|bb for HF
    assert is_alike(pairs)
    ranks = read_ranks(describe(pairs), [])
    assert ranks is not None
    assert b"abb" not in ranks.ranks
    assert is_alike(pairs, looks_up=True) is None  # looked up as a word, never made inside one


def test_two_places_in_the_order_are_refused() -> None:
    first = [("a", "b"), ("b", "a")]
    assert is_alike([*first, ("ab", "a"), ("b", "b"), ("a", "ba")]) is None
    assert is_alike([*first, ("ab", "a"), ("a", "ba"), ("b", "b")])


def test_what_is_not_understood_is_refused() -> None:
    good = describe([("a", "b")])
    assert read_ranks(good, []) is not None
    assert read_ranks(good | {"merges": ["a b"]}, []) is not None  # as older files write it
    for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        assert read_ranks(good | {name: 1}, []) is None
    assert read_ranks(good | {"type": "WordPiece"}, []) is None
    assert read_ranks(good | {"vocab": {"a": 0}}, []) is None
