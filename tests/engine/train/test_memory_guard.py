"""A run that runs out of memory takes the step back, computes less at once and goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from studio.core.errors import OutOfMemory
from studio.core.events.types import (
    Event,
    MemoryCleared,
    MicroBatchShrunk,
    NoticeRaised,
    RecomputingExtended,
    RunFinished,
    StateRestored,
    StepFinished,
    ValidationFinished,
)
from studio.core.runs.layout import RunLayout
from studio.engine.infer.samples import SamplePrompts
from studio.engine.tasks.causal_lm import CausalTask
from studio.engine.train import stepper
from studio.engine.train.guard.memory import is_out_of_memory
from tests.engine.tiny_run import ScriptedControl, build_run, of_type, train_run

SETTINGS: dict[str, Any] = {"steps": 12, "batch_sequences": 4, "evaluate_every_steps": 5}
ON_CPU = "[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory"
ERRORS = (
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    lambda: RuntimeError(f"{ON_CPU}: you tried to allocate 4096 bytes. Error code 12"),
    lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    MemoryError,
)


class Faults:
    """Lets memory run out at chosen calls, in the midst of what each call does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: set[int], seed: int = 0) -> None:
        self._at, self._calls, self._numbers = at, 0, random.Random(seed)
        self.raised = 0
        for owner, name in (
            (CausalTask, "add_gradients"),
            (CausalTask, "measure"),
            (stepper, "measure_step"),
            (stepper, "update_parameters"),
        ):
            monkeypatch.setattr(owner, name, self._wrap(getattr(owner, name)))

    def _wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._calls += 1
            is_fault = self._calls in self._at
            if is_fault and self._numbers.random() < 0.3:
                self._fail()  # before anything was done
            result = function(*args, **kwargs)
            if is_fault:
                self._fail()  # gradients, generators, weights and optimizer are changed already
            return result

        return call

    def _fail(self) -> None:
        self.raised += 1
        raise self._numbers.choice(ERRORS)()


def _train(
    folder: Path, base: Path, data: Path, **settings: Any
) -> tuple[list[Event], dict[str, torch.Tensor], RunLayout]:
    layout = build_run(folder, base, data, **(SETTINGS | settings))
    events = train_run(layout)
    assert isinstance(events[-1], RunFinished)
    weights = load_file(layout.checkpoint(12) / "training_state.safetensors")
    return events, weights, layout


@pytest.mark.parametrize("seed", range(3))
def test_out_of_memory_at_random_moments_changes_no_bit(
    seed: int, tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"micro_batch_tokens": 1, "adapter": {"dropout": 0.2}}
    clean, expected, _ = _train(tmp_path / "clean", tiny_base, tiny_chats, **settings)
    at = set(random.Random(seed).sample(range(1, 90, 7), 4))
    faults = Faults(monkeypatch, at, seed)
    events, found, _ = _train(tmp_path / "run", tiny_base, tiny_chats, **settings)
    assert faults.raised == 4
    assert len(of_type(events, MemoryCleared)) == 4
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    for kind in (StepFinished, ValidationFinished):
        losses = {event.step: event.loss for event in of_type(events, kind)}
        assert losses == {event.step: event.loss for event in of_type(clean, kind)}


@pytest.mark.parametrize("seed", range(3))
def test_after_out_of_memory_smaller_pieces_give_the_same_weights(
    seed: int, tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, expected, _ = _train(tmp_path / "clean", tiny_base, tiny_chats)
    Faults(monkeypatch, {*random.Random(seed).sample(range(4, 40), 3)}, seed)
    events, found, layout = _train(tmp_path / "run", tiny_base, tiny_chats)
    shrunk = of_type(events, MicroBatchShrunk)
    assert shrunk
    for earlier, later in pairwise(shrunk):
        assert later.before_tokens == earlier.after_tokens
    for event in shrunk:
        assert event.after_tokens <= event.before_tokens // 2
        assert event.cause == "out_of_memory"
    for name, value in expected.items():
        if name.startswith("parameter."):
            torch.testing.assert_close(found[name], value, rtol=2e-3, atol=2e-4)
    text = (layout.checkpoint(12) / "training_state.json").read_text()
    assert f'"micro_batch_tokens": {shrunk[-1].after_tokens}' in text


def test_an_update_that_was_half_made_is_undone(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    update = stepper.update_parameters

    def update_half(parameters: Any, *args: Any) -> None:
        nonlocal calls
        calls += 1
        update(parameters[:3] if calls == 11 else parameters, *args)
        if calls == 11:
            raise torch.OutOfMemoryError

    settings = {"micro_batch_tokens": 1}
    _, expected, _ = _train(tmp_path / "clean", tiny_base, tiny_chats, **settings)
    monkeypatch.setattr(stepper, "update_parameters", update_half)
    events, found, _ = _train(tmp_path / "run", tiny_base, tiny_chats, **settings)
    assert of_type(events, StateRestored) == [
        StateRestored(step=8, from_step=10, cause="out_of_memory")
    ]
    assert [event.step for event in of_type(events, StepFinished)] == [*range(1, 11), 9, 10, 11, 12]
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


def _limit(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    """Lets the device have room for ``tokens`` tokens at once."""
    for name in ("add_gradients", "measure"):
        compute = getattr(CausalTask, name)

        def call(self: Any, batch: Any, *args: Any, compute: Any = compute) -> Any:
            if batch.ids.numel() > tokens:
                raise torch.OutOfMemoryError
            return compute(self, batch, *args)

        monkeypatch.setattr(CausalTask, name, call)


@pytest.mark.parametrize("packs", [True, False])
def test_tokens_at_once_are_halved_until_they_fit(
    packs: bool, tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _limit(monkeypatch, 90)
    if not packs:
        monkeypatch.setattr("studio.engine.jobs.train_model.is_packing_exact", lambda _: False)
    events, _, _ = _train(tmp_path / "run", tiny_base, tiny_chats)
    sizes = [event.after_tokens for event in of_type(events, MicroBatchShrunk)]
    assert sizes
    assert 40 <= sizes[-1] <= 90
    again = build_run(tmp_path / "validation", tiny_base, tiny_chats, **SETTINGS)
    assert isinstance(train_run(again)[-1], RunFinished)


def test_an_example_that_does_not_fit_alone_ends_the_run_in_words(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _limit(monkeypatch, 30)
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, **SETTINGS)
    control = ScriptedControl(layout)
    with pytest.raises(OutOfMemory, match=r"single example of .* tokens") as raised:
        train_run(layout, control)
    assert "data.max_tokens" in raised.value.remedy
    assert len(of_type(control.seen, MemoryCleared)) == 2
    assert of_type(control.seen, RecomputingExtended) == [
        RecomputingExtended(step=1, before="none", after="all")
    ]


def test_samples_that_do_not_fit_are_left_out(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(self: Any, step: int) -> Any:
        raise torch.OutOfMemoryError
        yield self, step

    monkeypatch.setattr(SamplePrompts, "answer", answer)
    layout = build_run(
        tmp_path / "run", tiny_base, tiny_chats, steps=2, sample_prompts=["1+1?"], validation=0.0
    )
    events = train_run(layout)
    assert isinstance(events[-1], RunFinished)
    codes = {event.code for event in of_type(events, NoticeRaised)}
    assert "samples_skipped" in codes


def test_other_errors_are_not_taken_for_memory() -> None:
    assert all(is_out_of_memory(build()) for build in ERRORS)
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(ValueError("out of memory"))
