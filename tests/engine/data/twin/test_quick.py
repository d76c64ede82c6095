"""The twin is used where it pays, watched while it works, and given up at the first difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data import tokenize as tokenize_module
from studio.engine.data.prepare import prepare
from studio.engine.data.twin import quick as quick_module
from studio.engine.data.twin import twin as twin_module
from studio.engine.data.twin.quick import QuickTokens
from studio.engine.data.twin.twin import Twin, build_twin
from tests.engine.data.twin.conftest import gpt2, neox

LINES = ["if x:", "  return <|end|>", "plain text", "", "a  b", "The sum is 4."]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything quick from the first row on, and no twin of another test."""
    monkeypatch.setattr(quick_module, "PAYS_FROM", 0)
    monkeypatch.setattr(tokenize_module, "FEWEST_TO_COUNT", 1)
    twin_module._build.cache_clear()


def test_texts_that_the_twin_does_not_cover_keep_their_place(eager: None) -> None:
    backend = neox()
    quick = QuickTokens(backend, 1)
    quick.expect(1)
    for texts in (LINES, LINES[:1], LINES[1:2]):
        own = backend.encode_batch(texts, add_special_tokens=False)
        ids, counts = quick.encode(texts)
        assert counts.tolist() == [len(one) for one in own]
        assert ids.tolist() == [number for one in own for number in one.ids]
        assert (ids.dtype, quick._twin is None) == (np.int32, False)


def test_a_twin_is_built_when_as_much_was_tokenised_as_it_costs() -> None:
    quick = QuickTokens(gpt2(), 10)
    quick.expect(10 * quick_module.PAYS_FROM - 1)
    assert not quick.covers("é")
    quick.expect(1)
    assert quick.covers("é")


def spoil(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the twin err from some call on."""
    right = Twin.encode
    calls: list[int] = []

    def wrong(self: Twin, texts: Any) -> Any:
        ids, counts = right(self, texts)  # type: ignore[misc]  # no test text holds the space
        calls.append(1)
        return (ids if len(calls) <= after else ids[::-1]), counts

    monkeypatch.setattr(Twin, "encode", wrong)


def test_a_difference_ends_it_for_everybody(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = gpt2()
    first, second = QuickTokens(backend, 1), QuickTokens(backend, 1)
    for one in (first, second):
        one.expect(1)
    right = first.encode(LINES)[0].tolist()
    spoil(monkeypatch, 0)
    assert first.encode(LINES)[0].tolist() == right
    assert first.is_disproved
    assert not second.is_disproved
    assert second.encode(LINES)[0].tolist() == right
    assert second.is_disproved
    assert build_twin(backend) is None


def test_rows_made_before_the_difference_are_made_again(
    eager: None,
    chat_tokenizer: Any,
    write_rows: Callable[..., Path],
    settings_for: Callable[..., DataSettings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"What is {one}?"},
                      {"role": "assistant", "content": f"The sum is {one}."}]}
        for one in range(400)
    ]  # fmt: skip
    path = write_rows(rows)
    wish = settings_for(path)
    twin_module._build.cache_clear()
    folders = {"base_folder": path.parent, "cache_folder": tmp_path / "cache"}
    monkeypatch.setattr(quick_module, "PAYS_FROM", 10**9)
    wanted = prepare(wish, chat_tokenizer, None, base_folder=path.parent)
    monkeypatch.setattr(quick_module, "PAYS_FROM", 0)
    spoil(monkeypatch, 2)  # the sample of its construction and one batch
    found = prepare(wish, chat_tokenizer, None, **folders)
    assert found.disproved == ("tokens",)
    assert [one.code for one in found.problems if "quick" in one.code] == ["quick_tokens_differed"]
    again = prepare(wish, chat_tokenizer, None, **folders)
    for one in (found, again):
        assert [row.ids.tolist() for row in one.train] == [row.ids.tolist() for row in wanted.train]


def test_files_in_any_language_are_tokenised_quickly(
    eager: None, chat_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"“Größe {one}” — 日本語" for one in range(300)]
    encoder = tokenize_module.Encoder(chat_tokenizer)
    slow = [tokenize_module.TextToEncode(text, ((1, 6),)) for text in texts]
    wanted = encoder._encode_with_offsets(slow)
    monkeypatch.setattr(encoder, "_encode_with_offsets", lambda rest: [None] * len(rest))
    found = encoder.encode(slow)
    assert [(one.ids.tolist(), one.answers) for one in found] == [
        (one.ids.tolist(), one.answers) for one in wanted
    ]
