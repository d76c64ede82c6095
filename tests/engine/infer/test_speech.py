"""A prompt must only hold tokens that the model has rows for."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.errors import ModelUnusable
from studio.core.jobs.orders import ExportOrder, Turn
from studio.engine.export.prompts import GENERAL, choose_prompts
from studio.engine.infer.speech import Speech, build_speech
from studio.engine.models.files import load_config, load_tokenizer


@pytest.fixture
def wide(tiny_base: Path) -> Speech:
    """A model whose tokenizer was given a token that the model has no row for."""
    config, tokenizer = load_config(tiny_base), load_tokenizer(tiny_base)
    missing = config.vocab_size - len(tokenizer)
    tokenizer.add_tokens([f"<filler{number}>" for number in range(missing)] + ["<tool>"])
    assert len(tokenizer) == config.vocab_size + 1
    return build_speech(tiny_base, tokenizer, config, base_folder=tiny_base)


def test_a_token_beyond_the_rows_of_the_model_is_named(wide: Speech) -> None:
    assert wide.encode([Turn(role="user", content="Hello")], is_raw=False)
    with pytest.raises(ModelUnusable, match="“<tool>”") as refused:
        wide.encode([Turn(role="user", content="Use <tool> now")], is_raw=True)
    assert f"knows only {wide.known_tokens:,} tokens" in refused.value.message
    assert "tokenizer files that came with the model" in refused.value.remedy


def test_a_prompt_that_the_model_cannot_read_is_left_out_of_an_exports_check(
    wide: Speech, tmp_path: Path
) -> None:
    order = ExportOrder(
        adapter=str(tmp_path), target="adapter", out="out", prompts=("Say <tool>", "Say it")
    )
    chosen = choose_prompts(order, wide)
    assert [prompt.name for prompt in chosen.prompts] == ["Say it", *GENERAL]
    assert len(chosen.notes) == 1
    assert "“<tool>”" in chosen.notes[0]
