"""A base that stays in the computer's memory: what is on the card, and what it costs in time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio.core.events.types import DryRunMeasured
from studio.core.memory.fit import Question, apply_advice, find_advice
from studio.core.memory.ledger import build_ledger
from studio.core.memory.measured import Measurements, learn
from studio.core.memory.rows import assume_rows
from studio.core.memory.speed import estimate_time
from studio.core.paths import Home
from studio.core.recipe.check import check_recipe
from tests.core.memory.published import PUBLISHED
from tests.core.memory.situations import GB, GIB, build_anatomy, build_card, build_cpu, build_recipe

LLAMA = build_anatomy(PUBLISHED["Llama-3.1-8B"][0])
LAYER = 218_112_000  # parameters of one of its 32 layers, by hand
OUTSIDE = 2 * 128_256 * 4096 + 4096


def test_two_layers_and_what_is_outside_them_are_on_the_card() -> None:
    rows = assume_rows(512)
    recipe = build_recipe(base__offload="layers", base__dtype="bfloat16")
    ledger = build_ledger(recipe, LLAMA, build_card(8), rows)
    assert ledger.bytes_by_part["base"] == 2 * (2 * LAYER + OUTSIDE)
    assert ledger.fits(8 * GB)
    whole = build_recipe(base__dtype="bfloat16")
    assert not build_ledger(whole, LLAMA, build_card(8), rows).fits(8 * GB)


@pytest.mark.parametrize(("gib", "visits"), [(12, True), (16, True), (40, False)])
def test_automatic_keeps_the_base_on_the_card_where_it_fits(gib: float, visits: bool) -> None:
    recipe = build_recipe(base__offload="auto")
    ledger = build_ledger(recipe, LLAMA, build_card(gib), assume_rows(512))
    assert ledger.settled.visits == visits
    quantised = build_recipe(base__offload="auto", base__quantisation="nf4")
    assert not build_ledger(quantised, LLAMA, build_card(gib), assume_rows(512)).settled.visits
    assert not build_ledger(recipe, LLAMA, build_cpu(8), assume_rows(512)).settled.visits


def test_the_way_to_the_card_sets_the_speed_and_larger_batches_share_it() -> None:
    card, rows = build_card(8), assume_rows(512, rows=64)
    found = {}
    for tokens in (512, 2048):
        recipe = build_recipe(
            base__offload="layers", base__dtype="bfloat16", train__micro_batch_tokens=tokens,
            train__checkpointing="all",
        )  # fmt: skip
        ledger = build_ledger(recipe, LLAMA, card, rows)
        found[tokens] = estimate_time(recipe, LLAMA, card, ledger).tokens_per_second
    # 32 layers of 436 MB go there twice, at 12 GB per second: 2.3 seconds per micro-batch
    assert found[512] == pytest.approx(512 / 2.327, rel=0.01)
    assert found[2048] == pytest.approx(4 * found[512], rel=0.01)


def test_results_in_the_computers_memory_leave_three_layers_on_the_card() -> None:
    card, rows = build_card(24), assume_rows(2048)
    sizes = {}
    for mode in ("none", "all", "offload"):
        recipe = build_recipe(train__checkpointing=mode, train__micro_batch_tokens=2048)
        sizes[mode] = build_ledger(recipe, LLAMA, card, rows).bytes_by_part["activations"]
    assert sizes["offload"] < 0.2 * sizes["none"]


def test_codes_visit_and_scales_stay_so_that_the_way_is_four_times_as_fast() -> None:
    card, rows = build_card(8), assume_rows(512, rows=64)
    found, sizes = {}, {}
    for form in ("none", "nf4"):
        recipe = build_recipe(
            base__offload="layers", base__dtype="bfloat16", base__quantisation=form,
            train__micro_batch_tokens=512, train__checkpointing="all",
        )  # fmt: skip
        ledger = build_ledger(recipe, LLAMA, card, rows)
        found[form] = estimate_time(recipe, LLAMA, card, ledger).tokens_per_second
        sizes[form] = ledger.bytes_by_part["base"]
    assert found["nf4"] == pytest.approx(4 * found["none"], rel=0.01)
    weights = LAYER - 2 * 4096  # but for the two norms of a layer
    codes = weights / 2 + 2 * 2 * 4096
    scales = 32 * weights * (1 / 64 + 4 / (64 * 256))
    assert sizes["nf4"] == pytest.approx(2 * codes + scales + 2 * OUTSIDE, rel=1e-6)
    forms = build_recipe(base__offload="layers", base__quantisation="nf4")
    assert not [problem for problem in check_recipe(forms) if problem.severity == "error"]


def test_the_solver_keeps_the_quantisation_of_a_base_that_leaves_the_card() -> None:
    recipe = build_recipe(base__quantisation="nf4", base__dtype="bfloat16")
    anatomy = build_anatomy(PUBLISHED["Llama-3.1-70B"][0])
    question = Question(recipe, anatomy, build_card(8), assume_rows(512), 8 * GB)
    advice = find_advice(question)
    changed = apply_advice(recipe, advice)
    assert (changed.base.offload, changed.base.quantisation) == ("layers", "nf4")
    assert question.fits(changed)


def test_what_was_measured_with_the_base_away_serves_no_other_run(tmp_path: Path) -> None:
    home, card, rows = Home(tmp_path), build_card(24), assume_rows(512)
    away = build_recipe(base__offload="layers", train__checkpointing="all")
    ledger = build_ledger(away, LLAMA, card, rows)
    event = DryRunMeasured(
        device="cuda:0", loaded_bytes=5 * GB, peak_bytes=6 * GB, documents=(512,),
        supervised_tokens=511, tokens=512, seconds=2.0, dtype="bfloat16",
        recomputing=(0, 0, 32), micro_batch_tokens=512,
    )  # fmt: skip
    found = learn(home, away, LLAMA, card, rows, event)
    assert found.static_bytes == sum(ledger.bytes_by_part[key] for key in ("base", "adapter"))
    kept = Measurements.load(home)
    assert kept.find(card, LLAMA, away, ledger) is not None
    near = build_recipe(train__checkpointing="all")
    assert kept.find(card, LLAMA, near, build_ledger(near, LLAMA, card, rows)) is None


def test_the_price_of_layers_that_visit_is_what_the_time_becomes() -> None:
    """With few tokens at once the way to the card decides, with many the work does."""
    price = {}
    for tokens in (64, 8192):
        recipe = build_recipe(train__micro_batch_tokens=tokens, data__max_tokens=tokens)
        question = Question(recipe, LLAMA, build_card(10), assume_rows(tokens), 10 * GIB)
        advice = {item.key: item for item in find_advice(question)}
        price[tokens] = advice["offload"].slowdown
    assert price[64] > 5
    assert 0 < price[8192] < 0.2


def test_layers_do_not_visit_from_memory_that_the_computer_lacks() -> None:
    anatomy = build_anatomy(PUBLISHED["Llama-3.1-70B"][0])
    recipe = build_recipe(base__quantisation="nf4")
    needed = {}
    for computer in (64, 16):
        card = replace(build_card(12), computer_bytes=computer * GIB)
        question = Question(recipe, anatomy, card, assume_rows(512), 12 * GIB)
        needed[computer] = {item.key for item in find_advice(question) if item.is_needed}
    assert "offload" in needed[64]
    assert not needed[16]
    ledger = build_ledger(
        build_recipe(base__offload="layers"), LLAMA, build_card(8), assume_rows(1)
    )
    assert ledger.computer_bytes == 2 * 32 * LAYER
