"""A run that was stopped goes on exactly as if nothing had happened."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from studio.core.errors import DatasetInvalid, ModelUnusable
from studio.core.events.types import (
    CheckpointSaved,
    Event,
    NoticeRaised,
    PlanMade,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStopped,
    StepFinished,
    ValidationFinished,
)
from studio.core.jobs.orders import Pause, Resume, SaveCheckpoint, Stop
from studio.core.runs.layout import RunLayout
from tests.engine.tiny_run import ScriptedControl, build_run, of_type, train_run
from tests.windows_rules import follow_windows_rules

SETTINGS = {"steps": 14, "batch_sequences": 4, "evaluate_every_steps": 4, "micro_batch_tokens": 60}
DROPOUT = {"dropout": 0.2}


@pytest.fixture(autouse=True)
def _windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here also holds where files in use can be neither moved nor deleted."""
    follow_windows_rules(monkeypatch)


def _has_step(step: int):
    def when(events: list[Event]) -> bool:
        return any(isinstance(event, StepFinished) and event.step == step for event in events)

    return when


def _is_amid_step_six():
    polls_since = []

    def when(events: list[Event]) -> bool:
        if _has_step(5)(events):
            polls_since.append(1)
        return len(polls_since) == 4  # after the step's first micro-batches

    return when


def _get_facts(events: list[Event]) -> dict[tuple[str, int], float]:
    facts = {("loss", event.step): event.loss for event in of_type(events, StepFinished)}
    for event in of_type(events, ValidationFinished):
        facts["validation", event.step] = event.loss
    return facts


def _assert_same_files(one: Path, other: Path, name: str) -> None:
    first, second = load_file(one / name), load_file(other / name)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_chats: Path
) -> tuple[RunLayout, list[Event]]:
    """An uninterrupted run with dropout over several epochs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    layout = build_run(folder, tiny_base, tiny_chats, adapter=DROPOUT, **SETTINGS)
    return layout, train_run(layout)


@pytest.mark.parametrize("stop_after", [1, 3, 4, 7])
def test_stop_and_resume_gives_the_same_bits(
    stop_after: int,
    whole: tuple[RunLayout, list[Event]],
    tmp_path: Path,
    tiny_base: Path,
    tiny_chats: Path,
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, adapter=DROPOUT, **SETTINGS)
    control = ScriptedControl(layout)
    control.at(_has_step(stop_after), Stop())
    first = train_run(layout, control)
    assert isinstance(first[-1], RunStopped)
    assert first[-1].step == stop_after
    second = train_run(layout)
    assert isinstance(second[-1], RunFinished)
    assert of_type(second, PlanMade)[0].first_step == stop_after
    assert _get_facts(first) | _get_facts(second) == _get_facts(whole[1])
    folders = (layout.checkpoint(14), whole[0].checkpoint(14))
    _assert_same_files(*folders, "adapter_model.safetensors")
    _assert_same_files(*folders, "training_state.safetensors")
    _assert_same_files(layout.adapter, whole[0].adapter, "adapter_model.safetensors")


def test_a_stop_amid_a_step_takes_back_the_half_step(
    whole: tuple[RunLayout, list[Event]], tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, adapter=DROPOUT, **SETTINGS)
    control = ScriptedControl(layout)
    control.at(_is_amid_step_six(), Stop())
    first = train_run(layout, control)
    assert first[-1] == RunStopped(step=5)
    assert _get_facts(first) | _get_facts(train_run(layout)) == _get_facts(whole[1])


def test_a_pause_holds_the_run_and_changes_nothing(
    whole: tuple[RunLayout, list[Event]], tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, adapter=DROPOUT, **SETTINGS)
    control = ScriptedControl(layout)
    control.at(_has_step(2), Pause())
    control.at(lambda events: bool(of_type(events, RunPaused)), Resume())
    events = train_run(layout, control)
    assert of_type(events, RunPaused) == [RunPaused(step=2)]
    assert of_type(events, RunResumed) == [RunResumed(step=2)]
    assert _get_facts(events) == _get_facts(whole[1])


def test_a_checkpoint_wanted_in_a_pause_is_saved_at_once_even_amid_a_step(
    whole: tuple[RunLayout, list[Event]], tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, adapter=DROPOUT, **SETTINGS)
    control = ScriptedControl(layout)
    control.at(_is_amid_step_six(), Pause())
    control.at(lambda events: isinstance(events[-1], RunPaused), SaveCheckpoint())
    control.at(
        lambda events: bool(of_type(events[events.index(RunPaused(step=5)) :], CheckpointSaved)),
        Stop(),
    )
    first = train_run(layout, control)
    paused = first.index(RunPaused(step=5))
    assert isinstance(first[paused + 1], CheckpointSaved)
    assert first[paused + 1].step == 5
    assert _get_facts(first) | _get_facts(train_run(layout)) == _get_facts(whole[1])


def test_a_checkpoint_is_saved_when_asked_for_and_old_ones_go(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    settings = SETTINGS | {"evaluate_every_steps": 1000, "keep_checkpoints": 2}
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, validation=0.0, **settings)
    control = ScriptedControl(layout)
    for step in (2, 5, 6):
        control.at(_has_step(step), SaveCheckpoint())
    events = train_run(layout, control)
    assert [event.step for event in of_type(events, CheckpointSaved)] == [2, 5, 6, 14]
    assert sorted(path.name for path in layout.checkpoints.iterdir()) == [
        layout.checkpoint(6).name,
        layout.checkpoint(14).name,
    ]


def test_a_finished_run_finishes_again_at_once(
    whole: tuple[RunLayout, list[Event]],
) -> None:
    events = train_run(whole[0])
    assert isinstance(events[-1], RunFinished)
    assert not of_type(events, StepFinished)


def test_changed_data_forbids_to_go_on(tmp_path: Path, tiny_base: Path, tiny_chats: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_bytes(tiny_chats.read_bytes())
    layout = build_run(tmp_path / "run", tiny_base, chats, **SETTINGS)
    control = ScriptedControl(layout)
    control.at(_has_step(1), Stop())
    train_run(layout, control)
    chats.write_text("".join(reversed(chats.read_text().splitlines(keepends=True))))
    with pytest.raises(DatasetInvalid, match="has changed"):
        train_run(layout)


def test_a_changed_base_forbids_to_go_on(tmp_path: Path, tiny_base: Path, tiny_chats: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    layout = build_run(tmp_path / "run", base, tiny_chats, **SETTINGS)
    control = ScriptedControl(layout)
    control.at(_has_step(1), Stop())
    train_run(layout, control)
    weights = bytearray((base / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (base / "model.safetensors").write_bytes(weights)
    with pytest.raises(ModelUnusable, match="has changed"):
        train_run(layout)


def test_an_old_checkpoint_that_another_program_holds_ends_no_run(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path
) -> None:
    settings = SETTINGS | {"keep_checkpoints": 1, "evaluate_every_steps": 2}
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, validation=0.0, **settings)
    control = ScriptedControl(layout)
    control.at(_has_step(3), Stop())
    train_run(layout, control)
    (held,) = layout.checkpoints.iterdir()
    control = ScriptedControl(layout)
    control.at(_has_step(6), SaveCheckpoint())
    with (held / "training_state.json").open("rb"):
        events = train_run(layout, control)
    assert isinstance(events[-1], RunFinished)
    codes = [event.code for event in of_type(events, NoticeRaised)]
    assert codes.count("checkpoint_not_deleted") == 1
    assert held.is_dir()
