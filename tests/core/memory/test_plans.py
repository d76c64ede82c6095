"""What owners of 8, 12 and 24 GB cards are told about known models agrees with experience."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import pytest

from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec
from studio.core.memory.fit import apply_advice
from studio.core.memory.forecast import Forecast, advise, build_forecast
from studio.core.memory.rows import assume_rows
from tests.core.memory.published import PUBLISHED, gemma, llama, qwen3
from tests.core.memory.situations import GIB, build_anatomy, build_recipe

TOKENS = 2048
MODELS: dict[str, dict[str, Any]] = {
    "Llama-3.1-8B": PUBLISHED["Llama-3.1-8B"][0],
    "Mistral-7B": PUBLISHED["Mistral-7B-v0.3"][0],
    "Qwen3-4B": PUBLISHED["Qwen3-4B"][0],
    "Qwen3-8B": PUBLISHED["Qwen3-8B"][0],
    "Qwen3-14B": qwen3(5120, 40, 40, 8, 17408, 151936),
    "Gemma-3-4B": gemma("gemma3_text", 256, 2560, 34, 8, 4, 10240, 262208),
    "Phi-4-mini": llama(
        3072, 32, 24, 8, 8192, 200064, model_type="phi3", tie_word_embeddings=True,
        pad_token_id=199999,
    ),
    "Mixtral-8x7B": PUBLISHED["Mixtral-8x7B"][0],
}  # fmt: skip
# GiB with all layers recomputed, 2,048 tokens at once, rank 16 on all linear layers; what people
# report for QLoRA lies about there: 7 to 8B on 8 GB cards, 14B on 16 GB, Mixtral on 32 GB.
EXPECTED = {
    ("Llama-3.1-8B", "nf4"): (6.5, 8.0),
    ("Mistral-7B", "nf4"): (5.5, 7.0),
    ("Qwen3-4B", "nf4"): (4.0, 5.5),
    ("Qwen3-8B", "nf4"): (6.5, 8.5),
    ("Qwen3-14B", "nf4"): (10.5, 13.0),
    ("Gemma-3-4B", "nf4"): (4.0, 6.0),
    ("Phi-4-mini", "nf4"): (4.0, 6.0),
    ("Mixtral-8x7B", "nf4"): (23.5, 27.0),
    ("Llama-3.1-8B", "int8"): (10.0, 12.0),
    ("Llama-3.1-8B", "none"): (16.0, 19.0),
    ("Qwen3-14B", "none"): (29.0, 33.0),
}


@cache
def find_anatomy(model: str) -> Anatomy:
    return build_anatomy(MODELS[model])


def plan(model: str, quantisation: str, gib: int, **settings: Any) -> Forecast:
    card = DeviceSpec("card", "cuda", gib * GIB, gib * GIB - GIB // 2, True, 15e12, 128 * GIB)
    recipe = build_recipe(
        base__quantisation=quantisation, train__micro_batch_tokens=TOKENS, **settings
    )
    rows = assume_rows(TOKENS)
    return advise(build_forecast(recipe, find_anatomy(model), card, rows, card.free_bytes))


@pytest.mark.parametrize(("model", "quantisation"), EXPECTED)
def test_known_models_need_what_people_report(model: str, quantisation: str) -> None:
    least, most = EXPECTED[model, quantisation]
    found = plan(model, quantisation, 8, train__checkpointing="all")
    assert least * GIB < found.ledger.total_bytes < most * GIB


@pytest.mark.parametrize("model", MODELS)
def test_advice_for_cards_of_all_sizes_fits_and_keeps_the_order_of_cost(model: str) -> None:
    for quantisation, gib in product(("none", "int8", "nf4"), (8, 12, 24)):
        found = plan(model, quantisation, gib)
        if found.fits:
            assert found.advice == ()
            continue
        assert found.advised_bytes is not None
        assert found.advised_bytes <= found.budget_bytes
        changed = apply_advice(found.question.recipe, found.advice)
        again = build_forecast(
            changed, find_anatomy(model), found.device, found.rows, found.budget_bytes
        )
        assert again.fits
        order = [item.key for item in found.advice]
        known = ["checkpointing", "optimizer", "paged", "quantisation", "rank", "layers", "offload"]
        assert order == [key for key in known if key in order]


def test_an_8b_model_in_4_bits_learns_some_hundred_tokens_a_second_on_a_small_card() -> None:
    speed = plan("Llama-3.1-8B", "nf4", 8).time.tokens_per_second
    assert 150 < speed < 1000
