"""The training job resolves every setting, writes the whole run directory, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
import transformers

from studio.core.awake import CONTINUOUS, SYSTEM_REQUIRED
from studio.core.errors import DatasetInvalid, ModelUnusable, NotAvailableYet, RecipeInvalid
from studio.core.events.types import (
    AdapterSaved,
    DataPrepared,
    MemoryMeasured,
    ModelLoaded,
    NoticeRaised,
    PhaseEntered,
    PlanMade,
    RunFinished,
    RunStopped,
    SampleAnswered,
    SettingResolved,
    StepFinished,
    ValidationFinished,
)
from studio.core.jobs.orders import Stop
from studio.core.recipe.load import load_recipe
from studio.core.recipe.save import save_recipe
from studio.core.runs.layout import RunLayout
from studio.engine.jobs import train
from studio.engine.lora.state import load_adapter
from studio.engine.models.load import load_model
from studio.engine.models.reference import hash_file
from tests.engine.tiny_run import ScriptedControl, build_base, build_run, of_type, train_run

CPU = torch.device("cpu")


def test_a_run_states_its_facts_in_order_and_fills_its_directory(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, steps=10, sample_prompts=["1+1?"])
    events = train_run(layout)
    kinds = [type(event) for event in events]
    order = [DataPrepared, ModelLoaded, PlanMade, StepFinished, AdapterSaved, RunFinished]
    assert sorted(order, key=kinds.index) == order
    assert kinds[-1] is RunFinished
    phases = [event.phase for event in of_type(events, PhaseEntered)]
    assert sorted(set(phases), key=phases.index) == [
        "loading_data", "loading_model", "training", "validating", "saving",
    ]  # fmt: skip
    assert of_type(events, MemoryMeasured)[0].used_bytes > 0
    (data,) = of_type(events, DataPrepared)
    assert (data.train_rows, data.validation_rows) == (19, 5)
    (model,) = of_type(events, ModelLoaded)
    assert model.device == "cpu"
    assert model.adapted_modules == 14
    sources = [event.source for event in of_type(events, SampleAnswered)]
    assert sources == ["base", *["adapter"] * 5]

    manifest = json.loads(layout.manifest.read_text())
    assert manifest["data"] == {str(tiny_chats): hash_file(tiny_chats)}
    assert manifest["base"]["files"]["model.safetensors"].startswith("sha256:")
    assert manifest["seed"] == 42


def test_every_open_setting_becomes_definite_in_the_runs_own_recipe(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, steps=3)
    resolved = {event.key: event.value for event in of_type(train_run(layout), SettingResolved)}
    recipe = load_recipe(layout.recipe)
    assert resolved == {
        "train.devices": "cpu",
        "data.max_tokens": str(recipe.data.max_tokens),
        "base.dtype": "float32",
        "base.attention": "sdpa",
        "train.checkpointing": "none",
        "train.micro_batch_tokens": str(recipe.train.micro_batch_tokens),
        "train.evaluate_every_steps": "1",
    }
    assert recipe.train.devices == "cpu"
    assert isinstance(recipe.train.micro_batch_tokens, int)
    assert not of_type(train_run(layout), SettingResolved)


@pytest.mark.referee
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_the_saved_adapter_gives_in_peft_the_logits_it_has_here(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, steps=6)
    train_run(layout)
    ours = load_model(tiny_base, torch.float32, CPU)
    load_adapter(ours, layout.adapter)
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_base, trust_remote_code=False)
    theirs = peft.PeftModel.from_pretrained(base, layout.adapter).eval()
    ids = torch.randint(0, 200, (2, 15))
    torch.testing.assert_close(ours.eval()(ids).logits, theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_a_model_that_cannot_be_packed_is_padded_and_the_user_is_told(
    tmp_path: Path, tiny_chats: Path
) -> None:
    torch.manual_seed(0)
    config = transformers.BloomConfig(
        vocab_size=260, hidden_size=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=256
    )
    base = build_base(tmp_path / "base")
    transformers.BloomForCausalLM(config).save_pretrained(base)
    layout = build_run(tmp_path / "run", base, tiny_chats, steps=12)
    events = train_run(layout)
    assert [event.code for event in of_type(events, NoticeRaised)] == ["packing_off"]
    losses = [event.loss for event in of_type(events, ValidationFinished)]
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("settings", [{"checkpointing": "all"}, {"micro_batch_tokens": 30}])
def test_memory_settings_do_not_change_the_result(
    settings: dict[str, object], tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    curves = []
    for name, changes in (("plain", {}), ("changed", settings)):
        layout = build_run(tmp_path / name, tiny_base, tiny_chats, steps=6, **changes)
        events = of_type(train_run(layout), StepFinished)
        curves.append(torch.tensor([event.loss for event in events]))
    torch.testing.assert_close(curves[0], curves[1], rtol=1e-4, atol=1e-5)


def test_bfloat16_follows_the_curve_of_float32(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    curves = []
    for dtype in ("float32", "bfloat16"):
        layout = build_run(tmp_path / dtype, tiny_base, tiny_chats, steps=16, validation=0.0)
        _set(layout, "base", dtype=dtype)
        events = of_type(train_run(layout), StepFinished)
        curves.append(torch.tensor([event.loss for event in events]))
    torch.testing.assert_close(curves[0], curves[1], rtol=0.03, atol=0.0)


def test_the_seed_repeats_a_run_and_another_one_does_not(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    curves = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        layout = build_run(tmp_path / name, tiny_base, tiny_chats, steps=4, seed=seed)
        curves.append([event.loss for event in of_type(train_run(layout), StepFinished)])
    assert curves[0] == curves[1] != curves[2]


def test_an_adapter_is_continued_from_its_folder(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    first = build_run(tmp_path / "first", tiny_base, tiny_chats, steps=12)
    before = of_type(train_run(first), ValidationFinished)[-1].loss
    adapter = {"resume_from": "../first/adapter"}
    second = build_run(
        tmp_path / "second", tiny_base, tiny_chats, steps=1, adapter=adapter, learning_rate=1e-5
    )
    assert of_type(train_run(second), ValidationFinished)[0].loss == pytest.approx(before, rel=0.01)


def test_stop_is_heard_while_the_data_is_still_read(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats)
    control = ScriptedControl(layout)
    control.at(lambda events: bool(of_type(events, PhaseEntered)), Stop())
    events = train_run(layout, control)
    assert events[-1] == RunStopped(step=0)
    assert not of_type(events, ModelLoaded)


def test_windows_stays_awake_while_a_run_works_and_the_user_is_told(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: list[int] = []

    def switch(wish: int) -> int:
        wishes.append(wish)
        return 1

    monkeypatch.setattr(train, "find_switch", lambda: switch)
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats)
    control = ScriptedControl(layout)
    control.at(lambda events: bool(of_type(events, PhaseEntered)), Stop())
    told, *_, last = train_run(layout, control)
    assert (told.code, last) == ("kept_awake", RunStopped(step=0))
    assert wishes == [CONTINUOUS | SYSTEM_REQUIRED, CONTINUOUS]


def _set(layout: RunLayout, section: str, **values: object) -> None:
    recipe = load_recipe(layout.recipe)
    changed = getattr(recipe, section).model_copy(update=values)
    save_recipe(recipe.model_copy(update={section: changed}), layout.recipe)


def test_wrong_input_is_refused_before_anything_is_trained(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DatasetInvalid):
        train_run(build_run(tmp_path / "a", tiny_base, empty))
    with pytest.raises(ModelUnusable):
        train_run(build_run(tmp_path / "b", tmp_path, tiny_chats))
    with pytest.raises(RecipeInvalid):
        train_run(build_run(tmp_path / "c", tiny_base, tiny_chats, devices="cuda:7"))
    with pytest.raises(NotAvailableYet):
        train_run(build_run(tmp_path / "d", tiny_base, tiny_chats, devices=2))


def test_a_tokenizer_of_another_model_is_noticed(tmp_path: Path, tiny_chats: Path) -> None:
    base = build_base(tmp_path / "base", vocab_size=100, eos_token_id=2)
    with pytest.raises(ModelUnusable, match="do not belong together"):
        train_run(build_run(tmp_path / "run", base, tiny_chats))


def test_a_model_without_attention_trains_padded_and_leaves_out_what_it_does_not_call(
    tmp_path: Path, tiny_chats: Path
) -> None:
    base = build_base(tmp_path / "base", "mamba")
    layout = build_run(tmp_path / "run", base, tiny_chats, steps=4, learning_rate=1e-2)
    events = train_run(layout)
    notices = {event.code: event.message for event in of_type(events, NoticeRaised)}
    assert "dt_proj (2 in all)" in notices["layers_left_out"]
    assert "packing_off" in notices
    losses = [event.loss for event in of_type(events, StepFinished)]
    assert losses[-1] < losses[0]
    adapter = load_adapter(load_model(base, torch.float32, CPU), layout.adapter)
    assert {name.rpartition(".")[2] for name in adapter.modules} == {
        "in_proj", "out_proj", "x_proj",
    }  # fmt: skip


def test_a_model_that_can_neither_be_packed_nor_padded_is_refused_in_words(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("is_packing_exact", "is_padding_exact"):
        monkeypatch.setattr(f"studio.engine.jobs.train_model.{name}", lambda _: False)
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, steps=1)
    with pytest.raises(ModelUnusable, match="several examples together"):
        train_run(layout)
