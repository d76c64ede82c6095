"""Broken numbers: the run goes back, leaves the batch out, slows down, and then says why."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from studio.core.errors import StudioError
from studio.core.events.types import (
    CheckpointRemoved,
    CheckpointSaved,
    LearningRateLowered,
    PlanMade,
    RunFinished,
    StateRestored,
    StepFinished,
    StepRefused,
)
from studio.core.jobs.orders import SaveCheckpoint, Stop
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train import stepper
from studio.engine.train.checkpoint import find_checkpoints
from studio.engine.train.guard.numbers import LossWatch, Troubles
from tests.engine.tiny_run import ScriptedControl, build_base, build_run, of_type, train_run

SETTINGS: dict[str, Any] = {"batch_sequences": 4, "validation": 0.0, "micro_batch_tokens": 1}


@pytest.fixture(scope="module")
def broken_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that cannot read the letter ~: its layer 1 turns it into no number."""
    folder = build_base(tmp_path_factory.mktemp("broken"))
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[ord("~") - 33] = float("inf")
    model.save_pretrained(folder)
    return folder


def _write_with_tilde(path: Path, chats: Path) -> Path:
    lines = chats.read_text(encoding="utf-8").splitlines()
    lines[6] = lines[6].replace("It is", "It ~is")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_row_that_breaks_the_numbers_is_left_out_named_and_in_the_end_refused(
    tmp_path: Path, broken_base: Path, tiny_chats: Path
) -> None:
    data = _write_with_tilde(tmp_path / "chats.jsonl", tiny_chats)
    layout = build_run(tmp_path / "run", broken_base, data, steps=40, **SETTINGS)
    control = ScriptedControl(layout)
    with pytest.raises(StudioError, match=r"row 7 of chats\.jsonl") as raised:
        train_run(layout, control)
    assert raised.value.code == "loss_not_finite"
    refused = of_type(control.seen, StepRefused)
    assert [event.attempt for event in refused] == [1, 2, 3]
    assert all(event.rows == ("row 7 of chats.jsonl",) for event in refused)
    assert all(event.layers == ("layer 0",) for event in refused)
    assert [event.skipped_steps for event in refused] == [1, 1, 1]  # nothing else is lost
    assert [e.factor for e in of_type(control.seen, LearningRateLowered)] == [0.5]
    assert all(math.isfinite(event.loss) for event in of_type(control.seen, StepFinished))
    # the last good state is saved, and the run goes on from there with other data
    saved = of_type(control.seen, CheckpointSaved)[-1].step
    again = ScriptedControl(layout)
    again.at(lambda seen: len(of_type(seen, StepFinished)) == 3, Stop())
    events = train_run(layout, again)
    assert of_type(events, PlanMade)[0].first_step == saved
    steps = of_type(events, StepFinished)
    assert [event.step for event in steps[:3]] == [saved + 1, saved + 2, saved + 3]
    last = of_type(control.seen, StepFinished)[-1]
    assert steps[0].learning_rate == pytest.approx(last.learning_rate, rel=0.2)  # still halved


def test_one_broken_batch_changes_nothing_but_the_order_of_the_data(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_gradients, calls = CausalTask.add_gradients, 0

    def add_broken(self: Any, batch: Any, divisor: int) -> Any:
        nonlocal calls
        calls += 1
        loss = add_gradients(self, batch, divisor)
        if calls == 4 * 4 + 2:  # in the fifth step
            self.model.get_output_embeddings()
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.fill_(float("nan"))
        return loss

    monkeypatch.setattr(CausalTask, "add_gradients", add_broken)
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, steps=12, **SETTINGS)
    events = train_run(layout)
    refused = of_type(events, StepRefused)
    assert [(e.step, e.cause, e.skipped_steps) for e in refused] == [(5, "not_finite", 1)]
    assert math.isfinite(refused[0].loss)
    assert refused[0].rows == ()
    assert any("lora_" in name for name in refused[0].layers)
    assert [event.step for event in of_type(events, StepFinished)] == [*range(1, 13)]
    assert not of_type(events, StateRestored)
    assert isinstance(events[-1], RunFinished)


def test_weights_that_explode_are_taken_back_with_what_was_saved_of_them(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, calls = stepper.update_parameters, 0

    def update_badly(parameters: Any, *args: Any) -> None:
        nonlocal calls
        calls += 1
        update(parameters, *args)
        if calls == 13:
            with torch.no_grad():
                for parameter in parameters:
                    parameter.add_(4.0)

    add_gradients = CausalTask.add_gradients

    def add_high(self: Any, batch: Any, divisor: int) -> Any:
        # The loss of so small a model cannot become high by itself.
        largest = max(float(p.detach().abs().max()) for p in self.model.parameters())
        return add_gradients(self, batch, divisor) * max(1.0, largest)

    monkeypatch.setattr(stepper, "update_parameters", update_badly)
    monkeypatch.setattr(CausalTask, "add_gradients", add_high)
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, steps=30, **SETTINGS)
    control = ScriptedControl(layout)
    control.at(
        lambda seen: any(e.step == 13 for e in of_type(seen, StepFinished)), SaveCheckpoint()
    )
    events = train_run(layout, control)
    refused = of_type(events, StepRefused)
    assert [event.cause for event in refused] == ["exploded"]
    restored = of_type(events, StateRestored)
    assert [event.step for event in restored] == [8]
    assert restored[0].from_step == 15  # the third step behind the bad update
    assert [event.step for event in of_type(events, CheckpointRemoved)][:1] == [13]
    assert 8 in [event.step for event in of_type(events, CheckpointSaved)]
    losses = {event.step: event.loss for event in of_type(events, StepFinished)}
    assert events[-1] == RunFinished(step=30)
    assert max(losses.values()) < 2 * losses[1]  # the bad points were done again
    assert losses[30] < losses[1]
    assert find_checkpoints(layout.checkpoints)[-1] == layout.checkpoint(30)


def _draw(kind: str, step: int, numbers: random.Random) -> float:
    """Returns the loss of a healthy run: falling, noisy in a way that real runs are."""
    trend = 1.0 + 3.0 * math.exp(-step / 40)
    if kind == "normal":
        return trend + abs(numbers.gauss(0, 0.7))
    if kind == "heavy tails":  # Student's t with three degrees of freedom
        root = math.sqrt(sum(numbers.gauss(0, 1) ** 2 for _ in range(3)) / 3)
        return max(0.01, trend + 0.3 * numbers.gauss(0, 1) / root)
    if kind == "single rows":  # batches of one: some rows are far harder
        return trend * numbers.lognormvariate(0, 0.8)
    if kind == "two sources":  # short answers, and a quarter of the batches of running text
        return numbers.choice((0.2, 0.2, 0.2, 3.0)) + abs(numbers.gauss(0, 0.05))
    if kind == "rare source":
        return 0.3 + abs(numbers.gauss(0, 0.05)) + 4.0 * (numbers.random() < 0.04)
    return trend + abs(numbers.gauss(0, 0.7)) + (6.0 if step % 20 == 7 else 0.0)


KINDS = ["normal", "heavy tails", "single rows", "two sources", "rare source", "strange batches"]


@pytest.mark.parametrize("kind", KINDS)
def test_healthy_runs_raise_no_alarm_however_noisy(kind: str) -> None:
    for seed in range(10):
        watch, numbers = LossWatch(), random.Random(seed)
        verdicts = [watch.judge(_draw(kind, step, numbers), 1.0) for step in range(1000)]
        assert "exploded" not in verdicts, seed


@pytest.mark.parametrize("speed", [8.0, 2.0, 0.7])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "two sources", "rare source"])
def test_planted_explosions_are_seen_before_the_weights_are_lost(kind: str, speed: float) -> None:
    for seed in range(10):
        watch, numbers = LossWatch(), random.Random(seed)
        start = numbers.randrange(60, 400)
        assert all(watch.judge(_draw(kind, n, numbers), 1.0) != "exploded" for n in range(start))
        for step in range(start, start + 24):
            loss = _draw(kind, step, numbers) + min(9.0, speed * (step - start + 1))
            if watch.judge(loss, 1.0) == "exploded":
                break
        else:
            pytest.fail(f"unseen with the seed {seed}")


def test_a_loss_that_stays_high_is_one_and_a_hopeless_one_at_once() -> None:
    watch = LossWatch()
    for _ in range(20):
        assert watch.judge(1.0, 1.0) == "fine"
    assert [watch.judge(6.0, 1.0) for _ in range(3)] == ["suspicious", "suspicious", "exploded"]
    watch.go_back()
    assert watch.judge(1.0, 1.0) == "fine"
    assert watch.judge(31.0, 1.0) == "exploded"
    assert watch.judge(1.0, math.inf) == "not_finite"
    assert watch.judge(math.nan, 1.0) == "not_finite"


def test_the_start_of_a_run_may_be_as_bad_as_it_likes() -> None:
    watch = LossWatch()
    assert [watch.judge(loss, 1.0) for loss in (2.0, 12.0, 40.0, 11.0, 9.0)] == ["fine"] * 5


def test_troubles_far_apart_are_not_counted_together() -> None:
    troubles = Troubles()
    assert [troubles.count(at) for at in (5, 100, 250, 460)] == [1, 2, 2, 1]
