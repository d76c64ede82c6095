"""The twin gives the tokens of the model's own tokenizer, or there is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from studio.engine.data.twin import twin as twin_module
from studio.engine.data.twin.twin import Twin, build_twin
from tests.engine.data.test_material_templates import TOKENIZERS, _tokenizer
from tests.engine.data.twin.conftest import MARKS, gpt2, qwen

PARTS = (
    *("'s", "'LL", "'re", "'", "  ", "\n", "\r\n", "\t", "12", "3456789", "word", " The", "\x0b"),
    *("\x1c", "\x00", "\x7f", "...", " (", "  \n \n", "<|", "|>", "<|pad|>", " <|pad|> ", "_"),
    *(
        "é",
        "“Größe”",
        " — ",
        "\u00a0",
        "\u3000",
        "日本語",
        "12字",
        "Привет",
        "e\u0301",
        "\u200d",
        "½",
    ),
    *("\ufe0f", "🚀", "ⅷ", "'\u017f", "\U0001fae8", "\u0378"),
    *MARKS,
)
PLAIN = st.lists(
    st.sampled_from(PARTS) | st.text(st.characters(max_codepoint=127), max_size=12), max_size=12
).map("".join)
PLAIN = PLAIN.filter(lambda text: twin_module._BETWEEN not in text)
ROWS = st.lists(PLAIN, min_size=1, max_size=6)


def by_itself(backend: Any, texts: list[str]) -> tuple[list[int], list[int]]:
    found = backend.encode_batch(texts, add_special_tokens=False)
    return [number for one in found for number in one.ids], [len(one) for one in found]


def by_twin(twin: Twin, texts: list[str]) -> tuple[list[int], list[int]]:
    found = twin.encode(texts)
    assert found is not None
    return found[0].tolist(), found[1].tolist()


def change(backend: Tokenizer, **parts: Any) -> Tokenizer:
    """Return the tokenizer with other values in its model."""
    described = json.loads(backend.to_str())
    described["model"] |= parts
    return Tokenizer.from_str(json.dumps(described))


@settings(max_examples=60)
@given(rows=ROWS)
def test_tokens_are_the_same_whatever_stands_in_the_text(
    styled: tuple[Tokenizer, Twin], rows: list[str]
) -> None:
    backend, twin = styled
    covered = [row for row in rows if twin.covers(row)]
    if covered:
        assert by_twin(twin, covered) == by_itself(backend, covered)


def test_texts_that_are_not_certain_are_not_covered() -> None:
    twin = build_twin(gpt2())
    assert twin is not None
    assert twin.covers("plain <|end|>")
    assert twin.covers("café 日本語 🚀")
    assert not twin.covers("it'\u017f")  # an s for some
    assert not twin.covers("\U0001fae8")  # newer than some engines
    assert not twin.covers("a" + " " * 20_000)
    assert twin.covers("a b" * 20_000)


def test_blanks_that_are_tokens_and_marks_that_take_blanks_are_not_covered(
    styled: tuple[Tokenizer, Twin],
) -> None:
    backend, twin = styled
    has_runs = "<|pad|>" in backend.get_vocab()
    assert twin.covers("if  x:") is not has_runs
    assert twin.covers("a <|pad|>") is not has_runs
    assert twin.covers("one blank")


def test_a_text_that_looks_like_the_space_between_texts_is_left_to_the_tokenizer() -> None:
    twin = build_twin(gpt2())
    assert twin is not None
    assert twin.encode(["a\0\1\2\3b", "c"]) is None
    backend = gpt2()
    odd = ["a\0\1\2", "\3b", "\0", "\1\2\3", "", "x\0\1"]
    assert by_twin(twin, odd) == by_itself(backend, odd)


def test_letters_that_would_be_composed_are_not_covered() -> None:
    composing, other = build_twin(qwen()), build_twin(gpt2())
    assert composing is not None
    assert other is not None
    assert (composing.covers("e\u0301"), other.covers("e\u0301")) == (False, True)
    assert composing.covers("é")


@pytest.mark.material
@pytest.mark.parametrize("name", TOKENIZERS)
def test_real_tokenizers_have_twins_that_read_a_book_alike(name: str, material: Path) -> None:
    backend = _tokenizer(material / TOKENIZERS[name]).backend_tokenizer
    twin = build_twin(backend)
    reads_pieces = name == "stories260K" or name.startswith("mistral")  # SentencePiece: no twin
    assert (twin is None) == reads_pieces
    if twin is not None:
        book = next(material.rglob("*tinyshakespeare*.txt")).read_text("utf-8")
        code = Path(twin_module.__file__).read_text("utf-8")
        rows = [book[place : place + 3000] for place in range(0, 600_000, 3000)]
        rows += [code[place : place + 50] for place in range(0, len(code), 50)]
        assert by_twin(twin, rows) == by_itself(backend, rows)


def test_tokenizers_of_another_kind_have_none(base_tokenizer: Any) -> None:
    assert build_twin(base_tokenizer.backend_tokenizer) is None
    plain = gpt2()
    assert build_twin(plain) is not None
    assert build_twin(change(plain, dropout=0.1)) is None
    assert build_twin(change(plain, byte_fallback=True)) is None
    spaced = gpt2()
    spaced.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert build_twin(spaced) is None
    lossy = gpt2()
    lossy.encode_special_tokens = True
    assert build_twin(lossy) is None
    letters = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    letters.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert build_twin(letters) is None  # cannot write every byte


def test_without_tiktoken_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert build_twin(gpt2()) is None


def test_a_twin_whose_expression_divides_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = r"\p{L}+|\p{N}+|\s+|[^\s\p{L}\p{N}]+"
    monkeypatch.setattr(twin_module, "find_pattern", lambda _: wrong)
    other = gpt2()
    other.add_special_tokens(["<|this one only|>"])  # not built before
    assert build_twin(other) is None
