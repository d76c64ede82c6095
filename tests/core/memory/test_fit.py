"""What the solver advises always fits, and is offered whenever anything fits."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from studio.core.memory import fit
from studio.core.memory.card import DeviceSpec
from studio.core.memory.changes import Option, apply_change, iter_options
from studio.core.memory.fit import Question, apply_advice, describe_slowdown, find_advice
from studio.core.memory.ledger import build_ledger
from studio.core.memory.rows import RowLengths, assume_rows
from studio.core.recipe.fields import get_field_table
from tests.core.memory.published import PUBLISHED
from tests.core.memory.situations import GIB, build_anatomy, build_card, build_cpu, build_recipe

SMALL = ("SmolLM2-135M", "GPT-2", "Gemma-3-1B", "Qwen3-0.6B", "Llama-3.1-8B")
ANATOMIES = {name: build_anatomy(PUBLISHED[name][0]) for name in SMALL}


@st.composite
def questions(draw: st.DrawFn) -> Question:
    anatomy = ANATOMIES[draw(st.sampled_from(SMALL))]
    recipe = build_recipe(
        base__dtype=draw(st.sampled_from(["auto", "float32", "bfloat16"])),
        base__quantisation=draw(st.sampled_from(["none", "int8", "nf4"])),
        adapter__rank=draw(st.sampled_from([1, 8, 64, 256, "full"])),
        adapter__targets=draw(st.sampled_from(["all-linear", "attention", "mlp"])),
        train__checkpointing=draw(st.sampled_from(["none", "auto", "all"])),
        train__micro_batch_tokens=draw(st.sampled_from(["auto", 64, 2048, 32768])),
        train__batch_sequences=draw(st.integers(1, 64)),
        train__optimizer=draw(st.sampled_from(["adamw", "adamw8bit", "adamw_paged", "lion"])),
        data__pack=draw(st.booleans()),
        data__max_tokens=draw(st.sampled_from(["auto", 128, 4096])),
    )
    lengths = draw(st.lists(st.integers(2, 6000), min_size=1, max_size=40))
    gib = draw(st.floats(0.2, 30))
    device = draw(st.sampled_from([build_card, build_cpu]))(gib)
    return Question(recipe, anatomy, device, RowLengths.of(lengths, 0.5), int(gib * GIB))


def list_options(question: Question) -> list[Option]:
    return list(iter_options(question.recipe, question.anatomy, question.device, question.rows))


@settings(max_examples=60, deadline=None)
@given(questions())
def test_needed_advice_together_fits(question: Question) -> None:
    advice = find_advice(question)
    if any(item.is_needed for item in advice):
        assert question.fits(apply_advice(question.recipe, advice))
    if question.fits(question.recipe):
        assert advice == []


@settings(max_examples=25, deadline=None)
@given(questions())
def test_advice_is_found_whenever_some_set_of_changes_fits(question: Question) -> None:
    assume(not question.fits(question.recipe))
    if any(item.is_needed for item in find_advice(question)):
        return
    options = list_options(question)
    for picked in product((False, True), repeat=len(options)):
        recipe = question.recipe
        for option, is_in in zip(options, picked, strict=True):
            if is_in:
                recipe = apply_change(recipe, option.strongest)
        assert not question.fits(recipe)


@settings(max_examples=30, deadline=None)
@given(questions())
def test_no_needed_advice_can_be_left_out(question: Question) -> None:
    advice = find_advice(question)
    needed = [item for item in advice if item.is_needed]
    for left_out in needed:
        rest = [item for item in needed if item is not left_out]
        assert not question.fits(apply_advice(question.recipe, rest))


@settings(max_examples=30, deadline=None)
@given(questions())
def test_advice_names_settings_of_the_recipe_and_what_is_available(question: Question) -> None:
    table = get_field_table()
    for item in find_advice(question):
        assert item.label
        assert item.reason
        assert item.is_available == all(table[k].is_available(v) for k, v in item.changes)


def ask(recipe_settings: dict[str, object], gib: float) -> Question:
    recipe = build_recipe(**recipe_settings)
    rows = RowLengths.of([300] * 95 + [3000] * 5, 0.5)
    anatomy = ANATOMIES["Llama-3.1-8B"]
    return Question(recipe, anatomy, build_card(gib), rows, int(gib * GIB))


def test_recomputing_comes_before_what_changes_the_result() -> None:
    question = ask({"train__checkpointing": "none", "train__micro_batch_tokens": 4096}, 20)
    needed = [item.key for item in find_advice(question) if item.is_needed]
    assert needed
    assert set(needed) <= {"micro_batch_tokens", "checkpointing"}


def test_an_8_gb_card_is_told_to_quantise_an_8b_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "is_available", lambda _: True)
    advice = {item.key: item for item in find_advice(ask({}, 8))}
    found = advice["quantisation"]
    assert found.is_needed
    assert dict(found.changes) == {"base.quantisation": "nf4"}
    assert found.saved_bytes > 9 * GIB


def test_no_needed_advice_is_stronger_than_it_must_be() -> None:
    """Every milder level of one piece of advice is too little beside the others."""
    question = ask({"adapter__rank": 256, "train__checkpointing": "none"}, 20)
    options = {option.key: option for option in list_options(question)}
    needed = [item for item in find_advice(question) if item.is_needed]
    assert len(needed) > 1
    for item in needed:
        levels = options[item.key].levels
        others = apply_advice(question.recipe, [one for one in needed if one is not item])
        for milder in levels[: levels.index(item.changes)]:
            assert not question.fits(apply_change(others, milder))


def test_nothing_is_needed_where_nothing_helps() -> None:
    advice = find_advice(ask({}, 2))
    assert advice
    assert not any(item.is_needed for item in advice)


def test_fewer_bits_for_the_optimizer_cost_next_to_nothing() -> None:
    advice = {item.key: item for item in find_advice(ask({"adapter__rank": 256}, 18))}
    assert 0 <= advice["optimizer"].slowdown < 0.05
    assert advice["optimizer"].saved_bytes == pytest.approx(
        (8 - 2 * (1 + 4 / 256)) * 41_943_040 * 16, rel=0.01
    )


def ask_for_paging(device: DeviceSpec, **settings: object) -> Question:
    """A recipe whose optimizer alone is too large by what it remembers in 8 bits."""
    recipe = build_recipe(
        base__dtype="bfloat16",
        base__quantisation="nf4",
        adapter__rank=256,
        train__checkpointing="all",
        train__micro_batch_tokens=64,
        **settings,
    )
    anatomy, rows = ANATOMIES["Llama-3.1-8B"], RowLengths.of([64], 0.5)
    paged = apply_change(recipe, [("train.optimizer", "adamw_paged")])
    budget = build_ledger(paged, anatomy, device, rows).total_bytes
    return Question(recipe, anatomy, device, rows, budget)


@pytest.mark.parametrize("before", ["adamw", "adamw8bit"])
def test_what_8_bits_do_not_spare_is_kept_in_the_computers_memory(before: str) -> None:
    question = ask_for_paging(build_card(24), train__optimizer=before)
    advice = [item for item in find_advice(question) if item.is_needed]
    assert [item.changes for item in advice] == [(("train.optimizer", "adamw_paged"),)]
    assert advice[0].saved_bytes >= 2 * 256 * 2_621_440
    # eight bytes of each number go to the card and back, once in each step of eight rows
    seconds = [
        question.estimate_seconds(recipe, question.forecast(recipe))
        for recipe in (question.recipe, apply_advice(question.recipe, advice))
    ]
    assert seconds[1] - seconds[0] == pytest.approx(2 * 8 * 256 * 2_621_440 / 12e9)
    assert advice[0].slowdown == pytest.approx(seconds[1] / seconds[0] - 1)


def test_no_memory_is_borrowed_from_a_computer_that_has_none_or_computes_itself() -> None:
    full = replace(build_card(24), computer_bytes=1 * GIB)
    for device in (full, build_cpu(64)):
        question = ask_for_paging(device)
        question = replace(question, budget_bytes=question.budget_bytes - GIB)
        needed = [item.key for item in find_advice(question) if item.is_needed]
        assert needed
        assert "paged" not in needed
    assert "paged" not in [option.key for option in list_options(question)]


def test_a_recipe_that_fits_needs_no_advice() -> None:
    assert find_advice(ask({}, 40)) == []
    recipe = build_recipe()
    anatomy = ANATOMIES["GPT-2"]
    assert find_advice(Question(recipe, anatomy, build_card(24), assume_rows(256), 24 * GIB)) == []


def test_slowdowns_are_told_in_words() -> None:
    assert describe_slowdown(0.123) == "12 % slower"
    assert describe_slowdown(-0.5) == "50 % faster"
    assert describe_slowdown(-0.001) == "as fast as before"
