"""Whoever trains only the reading side of a shared table of word vectors is told so."""

from __future__ import annotations

import pytest

from studio.core.recipe.schema import AdapterSettings
from studio.engine.jobs.tables import tell_tables
from studio.engine.lora.inject import inject
from tests.engine.lora.tiny_models import build_model


@pytest.mark.parametrize(
    ("settings", "is_told"),
    [
        ({"extra_modules": ("embed_tokens",)}, True),
        ({"targets": ("q_proj", "embed_tokens")}, True),
        ({"extra_modules": ("embed_tokens", "lm_head")}, False),
        ({"extra_modules": ("embed_tokens",), "targets": ("q_proj", "lm_head")}, False),
        ({"extra_modules": ("lm_head",)}, False),
        ({"rank": "full"}, False),
        ({}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_tied", [True, False])
def test_training_half_a_shared_table_is_told(
    settings: dict[str, object], is_told: bool, is_tied: bool
) -> None:
    model = build_model("llama", tie_word_embeddings=is_tied)
    adapter = inject(model, AdapterSettings.model_validate({"rank": 2} | settings), seed=0)
    notices = list(tell_tables(model, adapter))
    assert len(notices) == (is_told and is_tied)
    for notice in notices:
        assert (notice.code, notice.severity) == ("table_half_trained", "warning")
        assert "(embed_tokens)" in notice.message
        assert "lm_head" in notice.remedy
