"""Only regular expressions that both engines read alike are taken."""

from __future__ import annotations

import pytest

from studio.engine.data.twin.pieces import GPT2, find_pattern
from tests.engine.data.twin.conftest import LLAMA3, QWEN

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split(pattern: str, **other: object) -> dict[str, object]:
    one = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [one | other, BYTES]}


@pytest.mark.parametrize("pattern", [QWEN, LLAMA3, O200K, GPT2])
def test_expressions_of_real_models_are_understood(pattern: str) -> None:
    assert find_pattern(split(pattern)) == pattern


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"\p{N}{1,3}+", r"\s++", r"a+?", r"a*+b", r"(a)\1", r"^a", r"\bword", r".+", r"a$"),
        *(r"[a&&b]", r"[[a]b]", r"(?<=a)b", r"\p{Han}+", r"\d", "", r"(?i)a", r"[\d]"),
    ],
)
def test_what_engines_read_differently_is_refused(pattern: str) -> None:
    assert find_pattern(split(pattern)) is None


def test_other_steps_are_refused() -> None:
    level = BYTES | {"use_regex": True}
    assert find_pattern(level) == GPT2
    assert find_pattern({"type": "ByteLevel", "add_prefix_space": False}) == GPT2
    digits = {"type": "Digits", "individual_digits": True}
    assert find_pattern({"type": "Sequence", "pretokenizers": [digits, level]}) is not None
    refused: list[dict[str, object] | None] = [
        None,
        BYTES,
        level | {"add_prefix_space": True},
        {"type": "Metaspace"},
        split(QWEN, behavior="Removed"),
        split(QWEN, invert=True),
        {"type": "Sequence", "pretokenizers": [level]},
        {"type": "Sequence", "pretokenizers": [digits, BYTES]},
        {"type": "Sequence", "pretokenizers": [digits | {"individual_digits": False}, level]},
        {"type": "Sequence", "pretokenizers": [{"type": "Punctuation"}, BYTES]},
    ]
    assert [find_pattern(one) for one in refused] == [None] * len(refused)
