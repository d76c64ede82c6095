"""Small tokenizers made on the spot, and recipes for files in a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from studio.core.recipe.schema_data import DataSettings
from tests.engine.data.sentence_pieces import BASE_MARKS, add_start, mark_spaces

settings.register_profile("untimed", deadline=None)  # a busy machine must not fail a test
settings.load_profile("untimed")

CORPUS = [
    "What is the sum of two and two? The sum is four.",
    "Who are you? I am a pirate, arr! Where is the treasure? Under the palm tree.",
    "Answer with the name of the town. The town is called Harbour Hill.\n\nThank you.",
]
CHAT_MARKS = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['role'] == 'assistant' %}"
    "{% generation %}{{- message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{%- else %}{{- message['content'] + '<|im_end|>' }}{%- endif %}"
    "{{- '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


@pytest.fixture(scope="session")
def chat_tokenizer() -> Any:
    """A byte-level BPE tokenizer whose template marks answers with generation tags."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|im_start|>", "<|im_end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **CHAT_MARKS)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    tokenizer.chat_template = CHATML
    return tokenizer


@pytest.fixture(scope="session")
def base_tokenizer() -> Any:
    """A SentencePiece-like tokenizer that adds BOS by itself and has no chat template."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token=BASE_MARKS["unk_token"]))
    mark_spaces(backend)
    bytes_ = [f"<0x{value:02X}>" for value in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    add_start(backend)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **BASE_MARKS)


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as JSONL and returns the file."""

    def write(rows: list[Any], name: str = "train.jsonl") -> Path:
        path = tmp_path / name
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def settings_for() -> Callable[..., DataSettings]:
    """Builds the data part of a recipe for one file."""

    def build(
        path: Path | str, source: dict[str, Any] | None = None, **others: Any
    ) -> DataSettings:
        return DataSettings.model_validate(
            {
                "train": [{"source": str(path), **(source or {})}],
                "validation": {"fraction": 0},
                **others,
            }
        )

    return build


def chat(*contents: str, system: str | None = None) -> dict[str, Any]:
    """A row of messages, user and assistant in turn."""
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    first = [] if system is None else [{"role": "system", "content": system}]
    return {"messages": first + turns}
