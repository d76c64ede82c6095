"""Runs over a base in few bits: trained, stopped, resumed, and asked afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.core.errors import RecipeInvalid
from studio.core.events.types import (
    AnswerFinished,
    ChatReady,
    ColumnsChanged,
    Event,
    ModelLoaded,
    NoticeRaised,
    RunFinished,
    StepFinished,
)
from studio.core.forgetting.probes import Probe
from studio.core.jobs.orders import AddColumn, Ask, ChatOrder, ForgettingOrder, Stop, Turn
from studio.core.runs.layout import RunLayout
from studio.core.weights.adapter_file import read_seen_base
from studio.core.weights.quantisable import BaseForm
from studio.engine.jobs import chat, forgetting
from studio.engine.jobs.quantised import choose_quantisation
from studio.engine.lora.routing import RowChoice
from studio.engine.lora.stack import AdapterStack
from studio.engine.lora.state import load_adapter
from studio.engine.models.load import load_model
from tests.engine.quant.stored_base import store_base
from tests.engine.quant.tiny_quantised import unfold_into
from tests.engine.tiny_run import (
    ScriptedControl,
    build_base,
    build_run,
    listen,
    of_type,
    train_run,
    write_order,
)

CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {"steps": 10, "batch_sequences": 4, "micro_batch_tokens": 60}
ADAPTER = {"dropout": 0.1, "targets": "attention"}


@pytest.fixture(scope="module")
def wide_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose layers are wide enough to be quantised."""
    sizes = {"hidden_size": 64, "intermediate_size": 128}
    return build_base(tmp_path_factory.mktemp("wide"), **sizes)


def _get_losses(events: list[Event]) -> list[float]:
    return [event.loss for event in of_type(events, StepFinished)]


def _notices(events: list[Event]) -> dict[str, str]:
    return {event.code: event.message for event in of_type(events, NoticeRaised)}


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, wide_base: Path, tiny_chats: Path
) -> tuple[RunLayout, list[Event]]:
    """An uninterrupted run over a base in 4 bits."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    layout = build_run(
        folder, wide_base, tiny_chats, held={"quantisation": "nf4"}, adapter=ADAPTER, **SETTINGS
    )
    return layout, train_run(layout)


def test_a_run_says_what_it_holds_in_few_bits_and_learns(
    whole: tuple[RunLayout, list[Event]], wide_base: Path
) -> None:
    events = whole[1]
    assert isinstance(events[-1], RunFinished)
    losses = _get_losses(events)
    assert losses[-1] < losses[0] - 0.3
    message = _notices(events)["base_quantised"]
    assert message.startswith("14 layers of the base are held in 4 bits (NF4): ")
    assert "The program unfolds them itself" in message
    dense = load_model(wide_base, torch.float32, CPU)
    assert of_type(events, ModelLoaded)[0].parameters == sum(p.numel() for p in dense.parameters())


def test_a_stopped_run_goes_on_with_the_same_bits(
    whole: tuple[RunLayout, list[Event]], tmp_path: Path, wide_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(
        tmp_path / "run",
        wide_base,
        tiny_chats,
        held={"quantisation": "nf4"},
        adapter=ADAPTER,
        **SETTINGS,
    )
    control = ScriptedControl(layout)
    control.at(lambda events: len(of_type(events, StepFinished)) == 4, Stop())
    first = train_run(layout, control)
    second = train_run(layout)
    assert _get_losses(first) + _get_losses(second) == _get_losses(whole[1])
    ours = load_file(layout.adapter / "adapter_model.safetensors")
    theirs = load_file(whole[0].adapter / "adapter_model.safetensors")
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("checkpointing", ["none", "mlp", "all"])
def test_a_run_equals_one_over_the_unfolded_weights(
    kind: str, checkpointing: str, tmp_path: Path, wide_base: Path, tiny_chats: Path
) -> None:
    """Packed rows, the spared rows of the last layer and recomputed layers included."""
    settings = SETTINGS | {"steps": 3, "checkpointing": checkpointing}
    quantised = build_run(
        tmp_path / "run", wide_base, tiny_chats, held={"quantisation": kind}, **settings
    )
    dense = load_model(wide_base, torch.float32, CPU)
    unfold_into(dense, load_model(wide_base, torch.float32, CPU, quantisation=kind))
    folder = build_base(tmp_path / "unfolded", hidden_size=64, intermediate_size=128)
    dense.save_pretrained(folder)
    plain = build_run(tmp_path / "plain", folder, tiny_chats, **settings)
    found, expected = _get_losses(train_run(quantised)), _get_losses(train_run(plain))
    assert found == pytest.approx(expected, rel=1e-5)


def test_modules_trained_in_full_are_not_quantised(
    tmp_path: Path, wide_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(
        tmp_path / "run",
        wide_base,
        tiny_chats,
        held={"quantisation": "nf4"},
        adapter={"extra_modules": ["*.1.mlp.up_proj"], "targets": "attention"},
        **SETTINGS | {"steps": 2},
    )
    events = train_run(layout)
    assert _notices(events)["base_quantised"].startswith("13 layers")
    model = load_model(wide_base, torch.float32, CPU, quantisation="nf4")
    adapter = load_adapter(model, layout.adapter)
    trained = adapter.extras["model.layers.1.mlp.up_proj"].trained
    saved = load_file(layout.adapter / "adapter_model.safetensors")
    key = next(key for key in saved if key.endswith("1.mlp.up_proj.weight"))
    assert torch.equal(trained.weight, saved[key])


def test_a_base_with_nothing_to_quantise_says_so(tmp_path: Path, tiny_chats: Path) -> None:
    base = build_base(tmp_path / "base", hidden_size=8, num_attention_heads=2, intermediate_size=8)
    layout = build_run(
        tmp_path / "run",
        base,
        tiny_chats,
        held={"quantisation": "int8"},
        **SETTINGS | {"steps": 1},
    )
    assert "nothing_quantised" in _notices(train_run(layout))


@pytest.mark.parametrize("changes", [{"rank": "full"}, {"init": "loftq"}])
def test_settings_that_contradict_the_quantisation_are_refused(
    changes: dict[str, object], tmp_path: Path, wide_base: Path, tiny_chats: Path
) -> None:
    kind = "nf4" if "rank" in changes else "none"
    layout = build_run(
        tmp_path / "run", wide_base, tiny_chats, held={"quantisation": kind}, adapter=changes
    )
    with pytest.raises(RecipeInvalid, match="quantis"):
        train_run(layout)


def test_a_chat_holds_the_base_as_the_adapter_saw_it(
    whole: tuple[RunLayout, list[Event]], wide_base: Path, tmp_path: Path
) -> None:
    adapters = {"tuned": str(whole[0].adapter)}
    assert choose_quantisation("auto", adapters.values()) == "nf4"
    assert choose_quantisation("int8", adapters.values()) == "int8"
    assert choose_quantisation("auto", [str(tmp_path)]) == "none"
    order = ChatOrder(base=str(wide_base), adapters=adapters)
    layout = RunLayout(tmp_path / "chat")
    write_order(layout, order)
    control = ScriptedControl(layout)
    ask = Ask(request=1, turns=(Turn(role="user", content="1+1?"),), max_new_tokens=6)
    control.at(lambda events: bool(of_type(events, ChatReady)), ask)
    control.at(lambda events: len(of_type(events, AnswerFinished)) == 2, Stop())
    events = list(listen(chat.run(order, layout, control), control))
    assert "base_quantised" in _notices(events)


@pytest.mark.parametrize(
    ("expects", "form", "held", "told"),
    [(True, "auto", True, False), (False, "auto", False, True), (True, "none", False, False)],
)
def test_adapters_that_join_later_decide_how_the_base_is_held_or_are_told_of(
    whole: tuple[RunLayout, list[Event]],
    wide_base: Path,
    tmp_path: Path,
    expects: bool,
    form: BaseForm,
    held: bool,
    told: bool,
) -> None:
    adapter = str(whole[0].adapter)
    expected = (adapter,) if expects else ()
    order = ChatOrder(base=str(wide_base), expected=expected, quantisation=form)
    layout = RunLayout(tmp_path / "chat")
    write_order(layout, order)
    control = ScriptedControl(layout)
    joining = AddColumn(request=1, column="tuned", adapter=adapter)
    control.at(lambda events: bool(of_type(events, ChatReady)), joining)
    control.at(lambda events: bool(of_type(events, ColumnsChanged)), Stop())
    notices = _notices(list(listen(chat.run(order, layout, control), control)))
    assert ("base_quantised" in notices) == held
    assert ("base_held_otherwise" in notices) == told
    if told:
        assert (
            "trained over the base held in 4 bits (NF4); now it is held as in its files"
            in (notices["base_held_otherwise"])
        )


@pytest.mark.parametrize(("form", "held"), [("auto", True), ("none", False)])
def test_forgetting_is_checked_over_the_base_as_the_adapter_saw_it(
    whole: tuple[RunLayout, list[Event]],
    wide_base: Path,
    tmp_path: Path,
    form: BaseForm,
    held: bool,
) -> None:
    order = ForgettingOrder(
        base=str(wide_base),
        adapters={"tuned": str(whole[0].adapter)},
        probes=(Probe(prompt="1+1?"),),
        max_new_tokens=4,
        quantisation=form,
    )
    layout = RunLayout(tmp_path / "check")
    write_order(layout, order)
    control = ScriptedControl(layout)
    events = list(listen(forgetting.run(order, layout, control), control))
    assert isinstance(events[-1], RunFinished)
    assert ("base_quantised" in _notices(events)) == held


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_base_stored_in_few_bits_trains_as_one_quantised_while_it_is_read(
    kind: str, wide_base: Path, tiny_chats: Path, tmp_path: Path
) -> None:
    stored = store_base(tmp_path / "stored", wide_base, kind)
    short = SETTINGS | {"steps": 4}
    found = train_run(build_run(tmp_path / "one", stored, tiny_chats, adapter=ADAPTER, **short))
    layout = build_run(
        tmp_path / "two", wide_base, tiny_chats, held={"quantisation": kind}, adapter=ADAPTER,
        **short,
    )  # fmt: skip
    assert _get_losses(found) == _get_losses(train_run(layout))
    assert _notices(found)["base_quantised"].startswith("14 layers")
    assert read_seen_base(RunLayout(tmp_path / "one").adapter).quantisation == kind
    layout = build_run(tmp_path / "full", stored, tiny_chats, adapter={"rank": "full"}, **short)
    with pytest.raises(RecipeInvalid, match="bits already"):
        train_run(layout)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_rows_of_base_and_adapter_equal_each_alone(
    kind: str, whole: tuple[RunLayout, list[Event]], wide_base: Path
) -> None:
    model = load_model(wide_base, torch.float32, CPU, quantisation=kind)
    stack = AdapterStack(model)
    stack.load("tuned", whole[0].adapter)
    ids = torch.randint(0, 200, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), stack.rows([RowChoice(), RowChoice("tuned")]):
        together = model(input_ids=ids).logits
    stack.close()
    with torch.no_grad():
        base = model(input_ids=ids[:1]).logits
        load_adapter(model, whole[0].adapter)
        tuned = model.eval()(input_ids=ids[1:]).logits
    torch.testing.assert_close(together, torch.cat((base, tuned)), rtol=0, atol=1e-5)
