"""Counting bytes tells the same spans as the tokenizer's own offsets, or says nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.engine.data import tokenize as tokenize_module
from studio.engine.data.answers import TemplateRefused
from studio.engine.data.byte_spans import ByteSpans, SpannedText
from studio.engine.data.conversation import Conversation, Turn
from studio.engine.data.template import JinjaTemplate
from studio.engine.data.tokenize import Encoded, Encoder, TextToEncode
from studio.engine.data.twin import quick as quick_module
from tests.engine.data.test_material_templates import TOKENIZERS, _template_files, _tokenizer

WORDS = ("Hello", "world", "  two", "\n\nnew", "tab\t", "a.b", "42", "don't", "x" * 40, "end.\n",
         " ", "<|im_end|>", "<|endoftext|>", "{", "\x00\x7f")  # fmt: skip


def write_some(template: JinjaTemplate, chance: random.Random, odd: str) -> list[TextToEncode]:
    texts = []
    for _ in range(10):
        turns = tuple(
            Turn(
                "assistant" if place % 2 else "user",
                " ".join(chance.choice((*WORDS, odd)) for _ in range(chance.randrange(1, 9))),
            )
            for place in range(chance.choice((2, 4)))
        )
        try:
            one = template.render(Conversation(turns))
        except TemplateRefused:
            continue
        trained = one.answers[-1:] if chance.random() < 0.3 else None
        texts.append(TextToEncode(one.text, one.answers, one.head_characters, trained))
    return texts


def say(one: Encoded) -> tuple[Any, ...]:
    return (one.ids.tolist(), one.trained, one.answers, one.head_tokens, one.bos_tokens,
            one.problems)  # fmt: skip


@pytest.mark.material
@pytest.mark.parametrize("name", TOKENIZERS)
def test_counted_spans_are_those_of_the_offsets(
    name: str, material: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenize_module, "FEWEST_TO_COUNT", 1)
    monkeypatch.setattr(quick_module, "PAYS_FROM", 0)
    tokenizer = _tokenizer(material / TOKENIZERS[name])
    encoder = Encoder(tokenizer)
    counted = ByteSpans.of(encoder._backend)
    chance = random.Random(name)
    told = 0
    for path in _template_files(material)[::2]:
        template = JinjaTemplate(tokenizer, path.read_text("utf-8"), path.stem)
        texts = write_some(template, chance, chance.choice(("word", "é日🚀", " “é”", "\u3000中")))
        if not texts:
            continue
        exact = [say(one) for one in encoder._encode_with_offsets(texts)]
        encoder._is_examined = False
        assert [say(one) for one in encoder.encode(texts)] == exact, path.stem
        if counted is not None:
            found = encoder._mark_by_counting(texts, counted)
            for one, wanted in zip(found, exact, strict=True):
                told += one is not None
                assert one is None or say(one) == wanted, path.stem
    assert (counted is None) == (told == 0)


def test_a_tokenizer_that_changes_text_is_not_counted(
    chat_tokenizer: Any, base_tokenizer: Any
) -> None:
    assert ByteSpans.of(base_tokenizer.backend_tokenizer) is None
    counted = ByteSpans.of(chat_tokenizer.backend_tokenizer)
    assert counted is not None
    ids = Encoder(chat_tokenizer).encode([TextToEncode("What is the sum?", ())])[0].ids
    right = SpannedText("What is the sum?", ((5, 7),), 0)
    wrong = SpannedText("What is the sum? ", ((5, 7),), 0)
    none = SpannedText("", (), 0)
    three = np.concatenate([ids, ids, ids])
    counts = [len(ids), len(ids), 0, len(ids)]
    first, second, third, last = counted.find(three, counts, [right, wrong, none, right])
    assert first is not None
    assert first == last
    assert (second, third) == (None, None)
    assert counted.find(ids[:0], [], []) == []
