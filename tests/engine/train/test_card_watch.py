"""A card that overflows or runs hot is noticed; the driver is imitated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from studio.core.events.types import (
    CardCooled,
    CardThrottled,
    Event,
    MicroBatchShrunk,
    NoticeRaised,
    RunFinished,
    SharedMemoryUsed,
)
from studio.core.memory.gauge import CardGauge, CardReading
from studio.engine.train import loop, stepper
from studio.engine.train.guard import card
from studio.engine.train.guard.card import CardWatch
from tests.engine.tiny_run import build_run, of_type, train_run

GIB = 1 << 30
COOL = CardReading(6 * GIB, 8 * GIB, 65, 1900, 1900, is_throttled=False)
FULL = CardReading(int(7.8 * GIB), 8 * GIB, 65, 1900, 1900, is_throttled=False)
HOT = CardReading(6 * GIB, 8 * GIB, 87, 1200, 1900, is_throttled=True)


class _Readings:
    """A gauge that tells a story; its last reading stays."""

    def __init__(self, *readings: CardReading | None) -> None:
        self._readings = list(readings)

    def read(self) -> CardReading | None:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]


def _watch(gauge: Any, seconds: Sequence[float], **settings: Any) -> list[Event]:
    """Returns what is stated about steps that took ``seconds``, six seconds apart."""
    clock = iter(range(0, 6 * len(seconds) + 6, 6))
    watch = CardWatch(gauge, read_clock=lambda: next(clock), **({"can_spill": True} | settings))
    return [
        fact for step, taken in enumerate(seconds, 1) for fact in watch.observe(step, 1000, taken)
    ]


USUAL = [1.0, 1.1, 0.9, 1.0, 1.05, 0.95]


def test_sudden_slowness_on_a_full_card_is_memory_that_overflowed() -> None:
    facts = _watch(_Readings(FULL), [*USUAL, 6.0, 6.2])
    (found,) = of_type(facts, SharedMemoryUsed)
    assert found.step == 8
    assert found.slowdown == pytest.approx(6.2, rel=0.05)
    assert (found.used_bytes, found.total_bytes) == (FULL.used_bytes, 8 * GIB)


@pytest.mark.parametrize(
    ("gauge", "seconds", "settings"),
    [
        (_Readings(COOL), [*USUAL, 6.0, 6.2, 6.1], {}),  # another reason
        (_Readings(FULL), [*USUAL, 6.0, 1.0, 6.0, 1.0], {}),  # single slow steps
        (_Readings(FULL), [*USUAL, 2.0, 2.0, 2.0], {}),  # longer examples
        (_Readings(FULL), [*USUAL, 6.0, 6.2], {"can_spill": False}),  # a driver that refuses
        (_Readings(None), [*USUAL, 6.0, 6.2], {}),  # a driver that does not tell
    ],
)
def test_other_slowness_is_not(gauge: Any, seconds: list[float], settings: Any) -> None:
    assert _watch(gauge, seconds, **settings) == []


def test_more_memory_held_than_the_card_has_is_proof_without_slowness() -> None:
    facts = _watch(_Readings(FULL), [5.0], get_reserved_bytes=lambda: 9 * GIB)
    assert facts == [
        SharedMemoryUsed(step=1, used_bytes=9 * GIB, total_bytes=8 * GIB, slowdown=0.0)
    ]


def test_heat_is_told_once_and_its_end_too() -> None:
    story = [COOL, HOT, COOL, HOT, HOT, HOT, COOL, COOL, COOL]
    facts = _watch(_Readings(*story), [1.0] * len(story), can_spill=False)
    assert facts == [
        CardThrottled(step=5, temperature_celsius=87, clock_mhz=1200, full_clock_mhz=1900),
        CardCooled(step=8, temperature_celsius=65),
    ]


def test_a_run_whose_memory_overflows_computes_less_at_once(
    tmp_path: Path, tiny_base: Path, tiny_chats: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 0.0
    watch = CardWatch(_Readings(FULL), can_spill=True)
    monkeypatch.setattr(loop, "build_watch", lambda _: watch)
    add_gradients = stepper.CausalTask.add_gradients

    def add_slowly(self: Any, batch: Any, divisor: int) -> Any:
        nonlocal clock
        is_slow = len(watch._usual) >= 6 and batch.rows > 2
        clock += batch.tokens * (10.0 if is_slow else 1.0)
        return add_gradients(self, batch, divisor)

    monkeypatch.setattr(stepper.CausalTask, "add_gradients", add_slowly)
    monkeypatch.setattr(stepper, "time", SimpleNamespace(perf_counter=lambda: clock))
    layout = build_run(tmp_path / "run", tiny_base, tiny_chats, steps=14, validation=0.0)
    events = train_run(layout)
    assert len(of_type(events, SharedMemoryUsed)) == 1
    (shrunk,) = of_type(events, MicroBatchShrunk)
    assert shrunk.cause == "shared_memory"
    assert shrunk.after_tokens < shrunk.before_tokens
    assert isinstance(events[-1], RunFinished)


def test_the_gauge_reads_what_the_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=8 * GIB, free=2 * GIB),
        "nvmlDeviceGetTemperature": lambda *_: 87,
        "nvmlDeviceGetClockInfo": lambda *_: 1200,
        "nvmlDeviceGetMaxClockInfo": lambda *_: 1900,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda card: (
            pynvml.nvmlClocksThrottleReasonHwThermalSlowdown if card == "GPU-12" else 0
        ),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    assert CardGauge("12").read() == HOT
    cool = CardGauge("GPU-13").read()
    assert cool is not None
    assert not cool.is_throttled
    assert cool.used_fraction == 0.75


def test_a_driver_that_does_not_tell_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse() -> None:
        asked.append(1)
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    gauge = CardGauge(0)
    assert [gauge.read(), gauge.read()] == [None, None]
    assert asked == [1]


def test_a_card_that_tells_its_memory_alone_is_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    memory = SimpleNamespace(total=8 * GIB, free=GIB)
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda _: memory)
    for name in ("Temperature", "ClockInfo", "MaxClockInfo", "CurrentClocksThrottleReasons"):
        monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", refuse)
    assert CardGauge(0).read() == CardReading(7 * GIB, 8 * GIB, 0, 0, 0, is_throttled=False)


def test_where_memory_overflows_unseen_a_run_takes_no_more_than_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares: list[tuple[float, torch.device]] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (6 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: GIB + (128 << 20))
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *at: shares.append(at)
    )
    device = torch.device("cuda:0")
    monkeypatch.setattr(card, "can_spill", lambda: False)
    assert list(card.stay_within_card(device)) == []
    assert shares == []
    monkeypatch.setattr(card, "can_spill", lambda: True)
    assert list(card.stay_within_card(torch.device("cpu"))) == []
    (notice,) = card.stay_within_card(device)
    assert isinstance(notice, NoticeRaised)
    assert shares == [(7 / 8, device)]
    assert "7" in notice.message
