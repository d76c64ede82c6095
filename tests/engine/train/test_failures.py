"""What goes wrong while training is said in words, and what was saved stays."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from studio.core.errors import DiskFull, StudioError
from studio.core.events.types import (
    AdapterSaved,
    CheckpointRemoved,
    CheckpointSaved,
    CheckpointSkipped,
    DiskNearlyFull,
    Event,
    RunFinished,
    StepFinished,
    ValidationFinished,
)
from studio.core.jobs.orders import SaveCheckpoint
from studio.engine.jobs import train as train_job
from studio.engine.lora.stored import WEIGHTS_NAME
from studio.engine.train import checkpoint, keeper
from studio.engine.train.checkpoint import find_checkpoints, find_newest_checkpoint
from studio.engine.train.optimizers import set_learning_rate
from studio.engine.train.step import finish_step
from tests.engine.tiny_run import ScriptedControl, build_run, listen, of_type, train_run


def _collect(layout, control=None) -> tuple[list[Event], StudioError]:
    """Returns the events of a run that fails, and its error."""
    control = control or ScriptedControl(layout)
    order = train_job.TrainOrder(base_folder=str(layout.folder))
    with pytest.raises(StudioError) as raised:
        for _ in listen(train_job.run(order, layout, control), control):
            pass
    return control.seen, raised.value


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(
        tmp_path / "run", tiny_base, tiny_chats, learning_rate=1.0, max_gradient_norm=0,
        warmup_fraction=0.9, steps=400, evaluate_every_steps=1000, adapter={"alpha": 60000.0},
    )  # fmt: skip
    control = ScriptedControl(layout)
    control.at(lambda events: len(of_type(events, StepFinished)) == 1, SaveCheckpoint())
    events, error = _collect(layout, control)
    assert error.code == "loss_not_finite"
    assert "learning rate" in error.remedy
    assert all(torch.isfinite(torch.tensor(e.loss)) for e in of_type(events, StepFinished))
    newest = find_newest_checkpoint(layout.checkpoints)
    assert newest == layout.checkpoint(of_type(events, CheckpointSaved)[-1].step)


def _fill_disk(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    """Lets the disk be full from the ``first`` to the ``last`` checkpoint."""
    saved = 0
    write = checkpoint.write_atomically

    def write_until_full(path: Path, content: bytes) -> None:
        nonlocal saved
        saved += 1
        if first <= saved <= last:
            path.with_name("half").write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_atomically", write_until_full)


def test_a_disk_that_is_full_for_a_while_does_not_end_the_run(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = build_run(
        tmp_path / "run", tiny_base, tiny_chats, steps=8, evaluate_every_steps=2, learning_rate=1e-3
    )
    _fill_disk(monkeypatch, 3, 3)
    events = train_run(layout)
    assert [event.step for event in of_type(events, CheckpointSkipped)] == [6]
    assert [event.step for event in of_type(events, CheckpointSaved)] == [2, 4, 8]
    assert of_type(events, AdapterSaved)[-1].step == 8
    assert isinstance(events[-1], RunFinished)


def test_a_disk_that_is_full_at_the_end_leaves_the_checkpoints_before_it_intact(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = build_run(
        tmp_path / "run", tiny_base, tiny_chats, steps=8, evaluate_every_steps=2, learning_rate=1e-3
    )
    _fill_disk(monkeypatch, 3, 1000)
    events, error = _collect(layout)
    assert isinstance(error, DiskFull)
    assert [event.step for event in of_type(events, CheckpointSaved)] == [2, 4]
    assert find_checkpoints(layout.checkpoints) == [layout.checkpoint(2), layout.checkpoint(4)]
    assert sorted(path.name for path in layout.checkpoints.iterdir()) == [
        "step-0000002",
        "step-0000004",
    ]
    monkeypatch.undo()
    again = train_run(layout)
    assert of_type(again, StepFinished)[0].step == 5
    assert isinstance(again[-1], RunFinished)


def test_on_a_disk_that_is_nearly_full_only_the_newest_and_the_best_are_kept(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = build_run(
        tmp_path / "run", tiny_base, tiny_chats, steps=8, validation=0.0, keep_checkpoints=5
    )
    control = ScriptedControl(layout)
    for step in (2, 4, 6):
        control.at(lambda seen, n=step: len(of_type(seen, StepFinished)) == n, SaveCheckpoint())

    def get_free_space(folder: Path) -> int:
        assert folder == layout.folder
        return 1 << 40 if len(of_type(control.seen, StepFinished)) < 6 else 1 << 20

    monkeypatch.setattr(keeper, "get_free_space", get_free_space)
    events = train_run(layout, control)
    (told,) = of_type(events, DiskNearlyFull)
    assert (told.step, told.free_bytes) == (6, 1 << 20)
    assert told.needed_bytes == of_type(events, CheckpointSaved)[-1].bytes
    assert [event.step for event in of_type(events, CheckpointRemoved)] == [2, 4, 6]
    assert isinstance(events[-1], RunFinished)


def test_training_stops_early_and_saves_the_best_adapter(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(
        tmp_path / "run", tiny_base, tiny_chats, steps=400, learning_rate=0.5, max_gradient_norm=0,
        schedule="constant", warmup_fraction=0, evaluate_every_steps=2, early_stopping_patience=3,
        keep_checkpoints=1,
    )  # fmt: skip
    events = train_run(layout)
    losses = {event.step: event.loss for event in of_type(events, ValidationFinished)}
    best = min(losses, key=losses.__getitem__)
    assert events[-1] == RunFinished(step=best + 6, reason="early_stopped")
    assert of_type(events, AdapterSaved)[-1].step == best
    assert [e.step for e in of_type(events, ValidationFinished) if e.is_best][-1] == best
    kept = layout.checkpoint(best) / WEIGHTS_NAME
    assert (layout.adapter / WEIGHTS_NAME).read_bytes() == kept.read_bytes()


def test_facts_are_never_stated_inside_no_grad_or_autocast(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(
        tmp_path / "run", tiny_base, tiny_chats, steps=3, sample_prompts=["1+1?"],
        sample_every_steps=1, evaluate_every_steps=1,
    )  # fmt: skip
    order = train_job.TrainOrder(base_folder=str(layout.folder))
    events: Iterator[Event] = train_job.run(order, layout, ScriptedControl(layout))
    for _ in events:
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def _get_parameter(gradient: float) -> nn.Parameter:
    parameter = nn.Parameter(torch.ones(4))
    parameter.grad = torch.full((4,), gradient)
    return parameter


def _finish(parameter: nn.Parameter, limit: float, loss: float = 3.0, step: int = 5):
    optimizer = torch.optim.SGD([{"params": [parameter], "ratio": 2.0}], lr=1.0)
    set_learning_rate(optimizer, 0.5)
    return finish_step([parameter], optimizer, torch.tensor(loss), 6, 0.5, limit, step)


def test_the_gradient_is_shortened_to_the_limit_and_its_full_length_is_reported() -> None:
    parameter = _get_parameter(2.0)
    result = _finish(parameter, limit=1.0)
    assert result.loss == 0.5
    assert result.gradient_norm == 4.0
    torch.testing.assert_close(parameter.detach(), torch.full((4,), 1 - 2 * 0.5 * 0.5))
    assert parameter.grad is None


def test_without_a_limit_the_gradient_is_taken_as_it_is() -> None:
    parameter = _get_parameter(2.0)
    _finish(parameter, limit=0)
    torch.testing.assert_close(parameter.detach(), torch.full((4,), -1.0))


@pytest.mark.parametrize(
    ("gradient", "loss", "step", "words"),
    [
        (float("nan"), 1.0, 5, "its gradient"),
        (1.0, float("inf"), 1, "base model itself"),
        (1.0, float("nan"), 5, "learning rate"),
    ],
)
def test_broken_numbers_change_no_weight(
    gradient: float, loss: float, step: int, words: str
) -> None:
    parameter = _get_parameter(gradient)
    with pytest.raises(StudioError, match=words) as raised:
        _finish(parameter, 1.0, loss, step)
    assert raised.value.code == "loss_not_finite"
    assert torch.equal(parameter.detach(), torch.ones(4))
