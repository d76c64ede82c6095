"""Forecasts agree with what papers report, with closed forms, and with themselves."""

from __future__ import annotations

import time
from typing import Any

import pytest

from studio.core.memory.activations import Working, count_heap_gaps
from studio.core.memory.card import DeviceSpec
from studio.core.memory.ledger import (
    PROCESS_BYTES,
    Correction,
    Ledger,
    build_ledger,
)
from studio.core.memory.rows import RowLengths, assume_rows
from studio.core.memory.settled import Settled
from studio.core.memory.speed import count_token_flops, estimate_time
from studio.core.memory.weights import NF4_BYTES
from tests.core.memory.published import GPT_3, PUBLISHED
from tests.core.memory.situations import GB, GIB, build_anatomy, build_card, build_cpu, build_recipe

QLORA: dict[str, Any] = {
    "base__quantisation": "nf4",
    "train__checkpointing": "all",
    "train__micro_batch_tokens": 512,
    "train__batch_sequences": 1,
}


def forecast(
    model: str, device: DeviceSpec, rows: RowLengths | None = None, **settings: Any
) -> Ledger:
    anatomy = build_anatomy(PUBLISHED[model][0])
    return build_ledger(build_recipe(**settings), anatomy, device, rows or assume_rows(512))


# ------------------------------------------------------------------ literature


def test_gpt_3_with_lora_takes_little_more_than_its_weights() -> None:
    """LoRA paper, section 4.2: 1.2 TB of full fine-tuning become 350 GB."""
    anatomy = build_anatomy(GPT_3)
    recipe = build_recipe(
        adapter__rank=4,
        adapter__targets=("c_attn",),
        train__checkpointing="all",
        train__micro_batch_tokens=512,
    )
    ledger = build_ledger(recipe, anatomy, build_card(400), assume_rows(512))
    assert anatomy.layers.parameters == pytest.approx(175e9, rel=0.005)
    assert ledger.bytes_by_part["base"] == pytest.approx(350 * GB, rel=0.005)
    assert ledger.total_bytes == pytest.approx(350 * GB, rel=0.03)


def test_the_adapter_of_gpt_3_takes_35_megabytes() -> None:
    """LoRA paper, section 4.2: rank 4 on query and value; table 4: 4.7 million at rank 1."""
    width, layers = 12288, 96
    anatomy = build_anatomy(
        PUBLISHED["Llama-2-7B"][0]
        | {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": 96,
            "num_key_value_heads": 96,
        }
    )
    for rank, parameters in ((1, 4.7e6), (4, 4 * 4.7e6)):
        recipe = build_recipe(adapter__rank=rank, adapter__targets=("q_proj", "v_proj"))
        ledger = build_ledger(recipe, anatomy, build_card(400), assume_rows(512))
        assert ledger.trainable_parameters == pytest.approx(parameters, rel=0.01)
    assert 2 * ledger.trainable_parameters == pytest.approx(35 << 20, rel=0.04)


@pytest.mark.parametrize(
    ("model", "card_gib", "settings"),
    [
        ("Llama-1-65B", 48, {"adapter__rank": 64, "train__optimizer": "adamw8bit"}),
        ("Llama-1-65B", 48, {"adapter__rank": 16}),
        ("Llama-1-33B", 24, {"adapter__rank": 16}),
        ("Llama-2-7B", 6, {"adapter__rank": 16}),
        ("Mistral-7B-v0.1", 6, {"adapter__rank": 16}),
    ],
)
def test_qlora_fits_the_cards_of_its_paper(
    model: str, card_gib: int, settings: dict[str, Any]
) -> None:
    """QLoRA paper: 65B on 48 GB, 33B on 24 GB, the 7B class on less than 6 GB."""
    assert forecast(model, build_card(card_gib), **QLORA, **settings).fits(card_gib * GIB)


@pytest.mark.parametrize(
    ("model", "card_gib"), [("Llama-1-65B", 48), ("Llama-1-33B", 24), ("Llama-2-7B", 12)]
)
def test_the_same_models_do_not_fit_there_in_16_bits(model: str, card_gib: int) -> None:
    ledger = forecast(model, build_card(card_gib), **QLORA | {"base__quantisation": "none"})
    assert not ledger.fits(card_gib * GIB)


def test_double_quantisation_takes_four_bits_and_an_eighth() -> None:
    """QLoRA paper, section 3: 0.127 bits per parameter for the constants instead of 0.5."""
    assert pytest.approx(4.127, abs=1e-3) == NF4_BYTES * 8


# ------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize("model", PUBLISHED)
def test_every_published_model_has_a_forecast_whose_parts_add_up(model: str) -> None:
    ledger = forecast(model, build_card(24))
    assert sum(ledger.bytes_by_part.values()) == ledger.total_bytes
    assert ledger.bytes_by_part["base"] == 2 * PUBLISHED[model][1]
    assert ledger.bytes_by_part["optimizer"] == 8 * ledger.trainable_parameters
    assert all(part.size_bytes >= 0 and part.label and part.help for part in ledger.parts)


def test_the_adapter_is_rank_times_inputs_and_outputs() -> None:
    ledger = forecast("Llama-3.1-8B", build_card(80), adapter__rank=16)
    layer = 4096 * 2 + 2 * (4096 + 1024) + 4096 * 2 + 3 * (4096 + 14336)
    assert ledger.trainable_parameters == 16 * 32 * layer == 41_943_040


def test_training_all_weights_holds_them_again_in_full_precision() -> None:
    """Weights, gradients and two averages in 32 bits beside the 16-bit base: 18 bytes each."""
    ledger = forecast("Llama-3.2-1B", build_card(80), adapter__rank="full")
    sizes, parameters = ledger.bytes_by_part, PUBLISHED["Llama-3.2-1B"][1]
    assert ledger.trainable_parameters == parameters
    held = ("base", "adapter", "gradients", "optimizer")
    assert sum(sizes[key] for key in held) == 18 * parameters


def test_a_paged_optimizer_remembers_in_the_computers_memory() -> None:
    settings = {"adapter__rank": "full", "train__optimizer": "adamw_paged"}
    paged = forecast("Llama-3.2-1B", build_card(80), **settings)
    state = 8 * PUBLISHED["Llama-3.2-1B"][1]
    assert paged.bytes_by_part["optimizer"] == 0
    assert paged.computer_bytes == state
    assert not paged.fits(80 * GIB, computer_bytes=state - 1)
    there = forecast("SmolLM2-135M", build_cpu(16), **settings)
    assert there.bytes_by_part["optimizer"] == 8 * there.trainable_parameters
    assert there.computer_bytes == 0


def test_modules_in_full_tokens_and_lengths_count_beside_the_adapter() -> None:
    plain = forecast("Llama-3.1-8B", build_card(80)).trainable_parameters
    head = forecast("Llama-3.1-8B", build_card(80), adapter__extra_modules=("lm_head",))
    assert head.trainable_parameters == plain + 128256 * 4096
    tokens = forecast("Llama-3.1-8B", build_card(80), adapter__trained_tokens=("<a>", "<b>"))
    assert tokens.trainable_parameters == plain + 2 * 2 * 4096  # the head is a table of its own
    dora = forecast("Llama-3.1-8B", build_card(80), adapter__variant="dora")
    outputs = 4096 + 2 * 1024 + 4096 + 2 * 14336 + 4096
    assert dora.trainable_parameters == plain + 32 * outputs


def test_intermediate_results_grow_with_the_tokens_and_hardly_matter_when_recomputed() -> None:
    def measure(tokens: int, mode: str) -> int:
        ledger = forecast(
            "Llama-3.2-1B",
            build_card(80),
            assume_rows(tokens),
            train__checkpointing=mode,
            train__micro_batch_tokens=tokens,
        )
        return ledger.bytes_by_part["activations"]

    assert measure(4096, "none") == pytest.approx(2 * measure(2048, "none"), rel=0.01)
    # one input of 2048 numbers per layer, against all that 16 layers keep
    assert measure(2048, "all") == pytest.approx(16 * 2048 * 2048 * 2, rel=0.2)
    assert measure(2048, "all") < measure(2048, "none") / 10


def test_adapting_the_upper_half_keeps_half() -> None:
    settings = {"train__checkpointing": "none", "train__micro_batch_tokens": 2048}
    whole = forecast("Llama-3.2-1B", build_card(80), assume_rows(2048), **settings)
    upper = forecast(
        "Llama-3.2-1B", build_card(80), assume_rows(2048), adapter__layers="8-15", **settings
    )
    share = upper.bytes_by_part["activations"] / whole.bytes_by_part["activations"]
    assert share == pytest.approx(0.5, abs=0.02)


def test_a_recipe_of_80_layers_is_forecast_while_a_knob_moves() -> None:
    anatomy = build_anatomy(PUBLISHED["Llama-3.1-70B"][0])
    recipe, rows = build_recipe(adapter__rank=8), assume_rows(2048)
    build_ledger(recipe, anatomy, build_card(80), rows)
    start = time.process_time()
    for rank in range(1, 21):
        changed = recipe.model_copy(
            update={"adapter": recipe.adapter.model_copy(update={"rank": rank})}
        )
        build_ledger(changed, anatomy, build_card(80), rows)
    # 20 ms are allowed; ten times that tells a change of kind from a busy machine
    assert (time.process_time() - start) / 20 < 0.2


def test_a_measurement_replaces_the_guesses() -> None:
    anatomy = build_anatomy(PUBLISHED["SmolLM2-135M"][0])
    recipe, cpu, rows = build_recipe(), build_cpu(16), assume_rows(256)
    plain = build_ledger(recipe, anatomy, cpu, rows)
    corrected = build_ledger(recipe, anatomy, cpu, rows, Correction(123, 2.0))
    assert corrected.is_measured
    assert corrected.bytes_by_part["overhead"] == 123
    assert corrected.working_bytes == pytest.approx(2 * plain.working_bytes, abs=4)
    assert corrected.bytes_by_part["base"] == plain.bytes_by_part["base"]


def test_eight_bits_take_a_byte_per_weight_and_four_per_output() -> None:
    ledger = forecast("Llama-3.1-8B", build_card(80), base__quantisation="int8")
    weights = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096)
    outputs = 32 * (2 * 4096 + 2 * 1024 + 2 * 14336 + 4096)
    rest = PUBLISHED["Llama-3.1-8B"][1] - weights
    assert ledger.bytes_by_part["base"] == weights + 4 * outputs + 2 * rest


def test_automatic_settings_plan_with_what_the_base_leaves() -> None:
    def plan(form: str, tokens: int, **settings: Any) -> Settled:
        rows = assume_rows(tokens)
        return forecast(
            "Llama-3.1-8B", build_card(20), rows, base__quantisation=form, **settings
        ).settled

    assert plan("none", 2048).recomputing.all > plan("nf4", 2048).recomputing.all
    recomputed: dict[str, Any] = {"train__checkpointing": "all"}
    tokens = [plan(form, 256, **recomputed).micro_batch_tokens for form in ("none", "nf4")]
    assert tokens[0] < tokens[1]


FEW_PREDICTIONS: dict[str, Any] = {"train__checkpointing": "all", "train__micro_batch_tokens": 2048}


def test_where_the_backward_pass_is_the_peak_the_last_layer_is_over_by_then() -> None:
    rows = RowLengths.of([2048] * 50, 0.01)
    found = forecast("Llama-3.1-8B", build_card(80), rows, **FEW_PREDICTIONS)
    inputs = 32 * 2048 * 4096 * 2
    assert found.bytes_by_part["activations"] == pytest.approx(inputs, rel=0.04)


def test_half_of_the_gaps_of_recomputed_layers_come_again_on_the_processor() -> None:
    rows = RowLengths.of([2048] * 50, 0.01)
    found = forecast("Llama-3.2-1B", build_cpu(80), rows, **FEW_PREDICTIONS)
    layer = next(iter(found.adapted.layers.values()))
    gaps = count_heap_gaps(
        build_anatomy(PUBLISHED["Llama-3.2-1B"][0]),
        layer,
        found.settled.documents,
        Working(4, is_cpu=True),
        recomputes=True,
    )
    assert gaps > 0
    assert found.bytes_by_part["overhead"] == PROCESS_BYTES + gaps // 2


# ------------------------------------------------------------------ time


def test_operations_per_token_are_those_of_the_closed_form() -> None:
    """Four per frozen weight, six per trained one; the head only on supervised tokens."""
    anatomy = build_anatomy(PUBLISHED["Llama-3.1-8B"][0])
    recipe = build_recipe(train__checkpointing="none", train__micro_batch_tokens=512)
    rows = RowLengths.of([512] * 50, 0.44)  # the share of the table's 0.55 with its allowance
    ledger = build_ledger(recipe, anatomy, build_card(80), rows)
    assert count_token_flops(anatomy, ledger) == pytest.approx(29.8e9, rel=0.02)


def test_keeping_zeros_costs_one_update_as_a_matrix_and_three_more_products() -> None:
    anatomy = build_anatomy(PUBLISHED["Llama-3.1-8B"][0])
    rows = RowLengths.of([4096] * 50, 0.01)  # few predictions: the backward pass is the peak
    plain, masked = (
        build_ledger(
            build_recipe(
                train__checkpointing="none",
                train__micro_batch_tokens=4096,
                adapter__keep_zeros=keeps,
            ),
            anatomy,
            build_card(80),
            rows,
        )
        for keeps in (False, True)
    )
    more = masked.bytes_by_part["backward"] - plain.bytes_by_part["backward"]
    assert more == 4096 * 14336 * (2 + 1)  # in 16 bits, and one byte for where the zeros are
    operations = [count_token_flops(anatomy, ledger) for ledger in (plain, masked)]
    assert operations[1] - operations[0] == 6 * anatomy.layer_parameters


def test_recomputing_costs_the_forward_pass_again() -> None:
    anatomy = build_anatomy(PUBLISHED["Llama-3.1-8B"][0])
    card, rows = build_card(80), assume_rows(512)

    def seconds(mode: str) -> float:
        recipe = build_recipe(train__checkpointing=mode, train__micro_batch_tokens=512)
        ledger = build_ledger(recipe, anatomy, card, rows)
        return estimate_time(recipe, anatomy, card, ledger).seconds_per_epoch

    assert 1.35 < seconds("all") / seconds("none") < 1.5


def test_a_measured_speed_is_no_guess() -> None:
    anatomy = build_anatomy(PUBLISHED["SmolLM2-135M"][0])
    recipe, cpu = build_recipe(data__validation={"fraction": 0.0}), build_cpu(16)
    ledger = build_ledger(recipe, anatomy, cpu, assume_rows(256, rows=160))
    rate = count_token_flops(anatomy, ledger) * 100  # one hundred tokens per second
    found = estimate_time(recipe, anatomy, cpu, ledger, rate)
    assert not found.is_guess
    assert found.tokens_per_second == pytest.approx(100)
    assert found.seconds_per_epoch == pytest.approx(160 * 256 / 100)
    assert (found.steps, found.seconds) == (20, pytest.approx(2 * found.seconds_per_epoch))
    assert estimate_time(recipe, anatomy, cpu, ledger).is_guess


def test_copies_to_go_back_to_count_on_the_processor_where_there_is_room_for_them() -> None:
    ledger = forecast("Llama-3.2-1B", build_cpu(64))
    sizes = ledger.bytes_by_part
    assert sizes["copies"] == 2 * 12 * ledger.trainable_parameters
    assert sizes["copies"] == 2 * (sizes["adapter"] + sizes["optimizer"])
    assert forecast("Llama-3.2-1B", build_card(64)).bytes_by_part["copies"] == 0
    whole = forecast("Llama-3.2-1B", build_cpu(64), adapter__rank="full")
    assert whole.bytes_by_part["copies"] == 0
