"""Tiny tokenizers in the manner of well-known models, made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from studio.engine.data.twin.twin import Twin, build_twin

TEXTS = [
    "What is the sum of two and two? The sum is four, isn't it? I'll say it's 4.",
    "def add(a, b):\n    return a + b\n\n\nprint(add(12, 345))\t# done\r\n",
    "Who are you? I am a pirate, ARR! Where's the treasure?  Under the palm tree...",
] * 3
MARKS = ["<|start|>", "<|end|>", "<think>", "</think>"]
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")


def _train(pre_tokenizer: Any, marks: list[str | AddedToken]) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=alphabet, show_progress=False, special_tokens=MARKS[:2]
    )
    made.train_from_iterator(TEXTS, trainer)
    made.add_tokens(marks)
    return made


def _split(pattern: str) -> Any:
    steps = [
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return pre_tokenizers.Sequence(steps)


def gpt2() -> Tokenizer:
    return _train(pre_tokenizers.ByteLevel(add_prefix_space=False), [])


def qwen() -> Tokenizer:
    made = _train(_split(QWEN), ["<think>", "</think>"])
    made.normalizer = normalizers.NFC()
    return made


def llama3() -> Tokenizer:
    """Lists every pair that gives a token, token by token, and looks whole words up first."""
    described = json.loads(_train(_split(LLAMA3), []).to_str())
    model = described["model"]
    order = sorted((number, name) for name, number in model["vocab"].items())
    model["merges"] = [
        [name[:cut], name[cut:]]
        for _, name in order
        for cut in range(1, len(name))
        if name not in MARKS and name[:cut] in model["vocab"] and name[cut:] in model["vocab"]
    ]
    model["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(described))


def smollm() -> Tokenizer:
    steps = [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
    return _train(pre_tokenizers.Sequence(steps), [])


def neox() -> Tokenizer:
    """Has runs of blanks as tokens of their own, and one that takes the blank before it."""
    blanks: list[str | AddedToken] = [" " * count for count in range(2, 6)]
    pad = AddedToken("<|pad|>", lstrip=True, normalized=False)
    return _train(pre_tokenizers.ByteLevel(add_prefix_space=False), [*blanks, pad])


STYLES: dict[str, Callable[[], Tokenizer]] = {
    one.__name__: one for one in (gpt2, qwen, llama3, smollm, neox)
}


@pytest.fixture(scope="package", params=sorted(STYLES))
def styled(request: pytest.FixtureRequest) -> tuple[Tokenizer, Twin]:
    """A tokenizer of each style with its twin."""
    made = STYLES[request.param]()
    twin = build_twin(made)
    assert twin is not None
    return made, twin
