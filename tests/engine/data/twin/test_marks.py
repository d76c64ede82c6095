"""Marks that may overlap or have rules about their neighbours are left to the tokenizer."""

from __future__ import annotations

from typing import Any

from studio.engine.data.twin.marks import read_marks


def added(*names: str, **rules: bool) -> list[dict[str, Any]]:
    return [{"content": name, "id": place, **rules} for place, name in enumerate(names)]


def test_ordinary_marks_are_sure() -> None:
    names = ("<|im_start|>", "<|im_end|>", "<think>", "</think>", "[INST]", "[/INST]", "<s>")
    found = read_marks(added(*names))
    assert found.numbers == {name: place for place, name in enumerate(names)}
    assert found.unsure == ()


def test_marks_that_overlap_are_not() -> None:
    assert read_marks(added("<a>", "<a><b>")).unsure == ("<a>",)
    assert read_marks(added("x<a>y", "<a>")).unsure == ("<a>",)
    assert read_marks(added("ab", "bc")).unsure == ("ab",)
    assert read_marks(added("  ", "   ", "\t\t")).unsure == ("\t\t", "  ")


def test_rules_about_neighbours_are_not() -> None:
    for rule in ("single_word", "lstrip", "rstrip"):
        assert read_marks(added("<a>", **{rule: True})).unsure == ("<a>",)
    assert read_marks(added("", "<a>")).numbers == {"<a>": 1}
