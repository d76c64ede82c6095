"""Beyond ASCII, letters are certain only where both engines put them into the same classes."""

from __future__ import annotations

import sys

import pytest
import tiktoken
from tokenizers import Regex, pre_tokenizers

from studio.engine.data.twin.letters import doubtful_letters, reads_letters_alike
from studio.engine.data.twin.pieces import GPT2
from tests.engine.data.twin.conftest import LLAMA3, QWEN

CLASSES = (r"\p{L}", r"\p{Lu}", r"\p{Ll}", r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{M}", r"\p{N}",
           r"\p{P}", r"\p{S}", r"\s", r"\S", "(?i:s)", "(?i:t)", "(?i:r)", "(?i:e)", "(?i:v)",
           "(?i:m)", "(?i:l)", "(?i:d)")  # fmt: skip


@pytest.fixture(scope="module")
def certain() -> str:
    every = "".join(map(chr, (*range(0xD800), *range(0xE000, sys.maxunicode + 1))))
    return doubtful_letters().sub("", every)


def test_the_usual_writings_are_certain(certain: str) -> None:
    for text in (
        "äöüßéñçøåłžőğ",
        "“”\u2018\u2019\u2013—…€ «»",
        "Привет",
        "日本語かな中文",
        "한국어",
        "नमस्ते",
        "ελ",
        "🚀🎉",
    ):
        assert not set(text) - set(certain), text
    assert len(certain) > 40_000
    assert "\u017f" not in certain


@pytest.mark.parametrize("wanted", CLASSES)
def test_certain_letters_are_in_the_same_classes(certain: str, wanted: str) -> None:
    ranks = {bytes([one]): one for one in range(256)}
    twin = tiktoken.Encoding("x", pat_str=wanted, mergeable_ranks=ranks, special_tokens={})
    inside = twin.decode(twin.encode_ordinary(certain))
    # what HF's engine does not find is what is left when it is cut out
    split = pre_tokenizers.Split(Regex(wanted), "removed")
    left = "".join(piece for piece, _ in split.pre_tokenize_str(certain))
    assert len(inside) + len(left) == len(certain)
    assert not set(inside) & set(left)


def test_only_english_contractions_may_ignore_capitals() -> None:
    assert all(map(reads_letters_alike, (GPT2, QWEN, LLAMA3)))
    assert not reads_letters_alike(r"(?i:'s|'st)|\p{L}+")
    assert not reads_letters_alike(r"\p{L}+|(?i:k)")
