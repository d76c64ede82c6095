"""What a dry run taught is remembered and makes the next forecast equal to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio.core.events.types import DryRunMeasured
from studio.core.memory.forecast import build_forecast
from studio.core.memory.ledger import build_ledger
from studio.core.memory.measured import Measurements, learn
from studio.core.memory.rows import RowLengths
from studio.core.paths import Home
from tests.core.memory.published import PUBLISHED
from tests.core.memory.situations import GIB, build_anatomy, build_card, build_recipe

ANATOMY = build_anatomy(PUBLISHED["SmolLM2-135M"][0])
RECIPE = build_recipe(
    train__checkpointing="none",
    train__micro_batch_tokens=1024,
    data__supervise="everything",
    data__max_tokens=256,
)
ROWS = RowLengths.of([256] * 40, 1.0)
CARD = build_card(8)
PEAK = 3 * GIB


def build_event(**changes: object) -> DryRunMeasured:
    values: dict[str, object] = {
        "device": "cuda:0",
        "loaded_bytes": GIB,
        "peak_bytes": PEAK,
        "documents": (256,) * 4,
        "supervised_tokens": 255 * 4,
        "tokens": 2048,
        "seconds": 0.5,
        "dtype": "bfloat16",
        "recomputing": (16, 0, 0),
        "micro_batch_tokens": 1024,
    }
    return DryRunMeasured.model_validate(values | changes)


def test_the_next_forecast_equals_the_measurement(tmp_path: Path) -> None:
    home = Home(tmp_path)
    before = build_forecast(RECIPE, ANATOMY, CARD, ROWS, 8 * GIB, Measurements.load(home))
    assert not before.ledger.is_measured
    assert before.time.is_guess
    learn(home, RECIPE, ANATOMY, CARD, ROWS, build_event())
    after = build_forecast(RECIPE, ANATOMY, CARD, ROWS, 8 * GIB, Measurements.load(home))
    assert after.ledger.is_measured
    assert after.ledger.total_bytes == pytest.approx(PEAK, rel=0.001)
    assert not after.time.is_guess
    assert after.time.tokens_per_second == pytest.approx(2048 / 0.5)


def test_it_serves_other_adapters_and_lengths_of_the_same_model(tmp_path: Path) -> None:
    home = Home(tmp_path)
    learn(home, RECIPE, ANATOMY, CARD, ROWS, build_event())
    adapter = RECIPE.adapter.model_copy(update={"rank": 64})
    wider = RECIPE.model_copy(update={"adapter": adapter})
    found = build_forecast(wider, ANATOMY, CARD, ROWS.cut(100), 8 * GIB, Measurements.load(home))
    assert found.ledger.is_measured


def test_it_does_not_serve_another_card_or_way_of_computing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    learn(home, RECIPE, ANATOMY, CARD, ROWS, build_event())
    ledger = build_ledger(RECIPE, ANATOMY, CARD, ROWS)
    assert Measurements.load(home).find(CARD, ANATOMY, RECIPE, ledger) is not None
    other = replace(CARD, name="another card")
    assert Measurements.load(home).find(other, ANATOMY, RECIPE, ledger) is None
    train = RECIPE.train.model_copy(update={"checkpointing": "all"})
    recomputed = RECIPE.model_copy(update={"train": train})
    ledger = build_ledger(recomputed, ANATOMY, CARD, ROWS)
    assert Measurements.load(home).find(CARD, ANATOMY, recomputed, ledger) is None


def test_a_damaged_memory_of_it_counts_as_none(tmp_path: Path) -> None:
    home = Home(tmp_path)
    learn(home, RECIPE, ANATOMY, CARD, ROWS, build_event())
    for path in (home.cache / "measured").iterdir():
        path.write_text("{")
    ledger = build_ledger(RECIPE, ANATOMY, CARD, ROWS)
    assert Measurements.load(home).find(CARD, ANATOMY, RECIPE, ledger) is None


def test_nonsense_from_a_busy_machine_is_bounded(tmp_path: Path) -> None:
    found = learn(Home(tmp_path), RECIPE, ANATOMY, CARD, ROWS, build_event(peak_bytes=900 * GIB))
    assert found.build_correction().working_factor <= 4
    found = learn(
        Home(tmp_path), RECIPE, ANATOMY, CARD, ROWS, build_event(peak_bytes=GIB, loaded_bytes=GIB)
    )
    assert found.build_correction().working_factor > 0
