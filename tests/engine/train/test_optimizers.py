"""Every optimizer takes the steps its paper describes and goes on exactly after a stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from studio.core.errors import RecipeInvalid
from studio.core.events.types import RunStopped, SettingResolved, StepFinished
from studio.core.jobs.orders import Stop
from studio.core.recipe.schema_train import TrainSettings
from studio.engine.train.optimizers import adafactor, lion, muon, schedule_free, show_result
from tests.engine.tiny_run import ScriptedControl, build_run, of_type, train_run

SETTINGS = {"steps": 6, "batch_sequences": 4, "evaluate_every_steps": 1000}


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_lion_takes_the_steps_of_its_paper(weight_decay: float) -> None:
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(4, 3))
    settings = TrainSettings(learning_rate=0.01, weight_decay=weight_decay)
    optimizer = lion.build([{"params": [parameter], "ratio": 1.0}], settings)
    weights, momentum = parameter.detach().clone(), torch.zeros(4, 3)
    for _ in range(5):
        gradient = torch.randn(4, 3)
        parameter.grad = gradient.clone()
        optimizer.step()
        direction = (0.9 * momentum + 0.1 * gradient).sign()
        weights = weights - 0.01 * (direction + weight_decay * weights)
        momentum = 0.99 * momentum + 0.01 * gradient
        torch.testing.assert_close(parameter.detach(), weights)


def test_adafactor_moves_a_matrix_that_starts_at_zero() -> None:
    parameter = nn.Parameter(torch.zeros(4, 3))
    optimizer = adafactor.build(
        [{"params": [parameter], "ratio": 1.0}], TrainSettings(learning_rate=0.01)
    )
    parameter.grad = torch.ones(4, 3)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.full((4, 3), -0.01), rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", ["lion", "adafactor", "muon", "schedule_free", "adamw_paged"])
def test_a_stopped_run_goes_on_with_the_same_bits(
    name: str, tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    settings = SETTINGS | {"optimizer": name, "learning_rate": 1e-3}
    whole = build_run(tmp_path / "whole", tiny_base, tiny_chats, **settings)
    events = train_run(whole)
    losses = [event.loss for event in of_type(events, StepFinished)]
    assert losses[-1] < losses[0]
    parted = build_run(tmp_path / "parted", tiny_base, tiny_chats, **settings)
    control = ScriptedControl(parted)
    control.at(lambda seen: len(of_type(seen, StepFinished)) == 3, Stop())
    first = train_run(parted, control)
    assert isinstance(first[-1], RunStopped)
    second = train_run(parted)
    found = [event.loss for event in of_type(first + second, StepFinished)]
    assert found == losses
    one, other = (load_file(run.adapter / "adapter_model.safetensors") for run in (whole, parted))
    for name, value in one.items():
        assert torch.equal(value, other[name])


@pytest.mark.referee
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_schedule_free_steps_and_averages_as_the_reference_does(weight_decay: float) -> None:
    schedulefree = pytest.importorskip("schedulefree")
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(4, 3, dtype=torch.float64)) for _ in range(2))
    settings = TrainSettings(learning_rate=0.01, weight_decay=weight_decay)
    optimizer = schedule_free.build([{"params": [ours], "ratio": 1.0}], settings)
    reference = schedulefree.AdamWScheduleFree([theirs], lr=0.01, weight_decay=weight_decay)
    for rate in (0.002, 0.006, 0.01, 0.01, 0.01):
        reference.train()
        for side, steps in ((ours, optimizer), (theirs, reference)):
            steps.param_groups[0]["lr"] = rate
            torch.manual_seed(int(rate * 1000))
            side.grad = torch.randn(4, 3, dtype=torch.float64)
            steps.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        point = ours.detach().clone()
        reference.eval()
        with show_result(optimizer):
            assert not torch.equal(ours, point) or rate == 0.002
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        assert torch.equal(ours, point)


def test_a_schedule_free_run_validates_and_saves_its_average(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    settings = SETTINGS | {"optimizer": "schedule_free", "learning_rate": 1e-2}
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, **settings)
    events = train_run(layout)
    assert ("train.schedule", "constant") in [
        (event.key, event.value) for event in of_type(events, SettingResolved)
    ]
    step = layout.checkpoint(SETTINGS["steps"])
    state = load_file(step / "training_state.safetensors")
    saved = load_file(step / "adapter_model.safetensors")
    names = [name for name in state if name.startswith("parameter.") and "lora_B" in name]
    fast = {name: state[name] for name in state if name.endswith(".fast")}
    averages = [
        state[name].lerp(values, 1 - 1 / 0.9)
        for name in names
        for values in fast.values()
        if values.shape == state[name].shape
    ]
    written = [value for name, value in saved.items() if "lora_B" in name]
    assert written
    for value in written:
        assert any(value.shape == one.shape and torch.allclose(value, one) for one in averages)
        assert not any(torch.equal(value, state[name]) for name in names)


def test_muon_refuses_what_is_no_matrix_in_words() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(3))], "ratio": 1.0}]
    with pytest.raises(RecipeInvalid, match="matrices only"):
        muon.build(groups, TrainSettings())
