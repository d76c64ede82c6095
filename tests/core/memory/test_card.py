"""Devices as the driver describes them; without a driver, the processor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psutil
import pynvml
import pytest

from studio.core.memory.card import find_device

GIB = 1 << 30


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver with one card of compute capability 8.6."""
    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=12 * GIB, free=11 * GIB),
        "nvmlDeviceGetCudaComputeCapability": lambda _: (8, 6),
        "nvmlDeviceGetName": lambda _: "RTX 3060",
        "nvmlDeviceGetNumGpuCores": lambda _: 3584,
        "nvmlDeviceGetMaxClockInfo": lambda *_: 1777,
    }
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("wish", ["auto", "cuda", "cuda:0", 1])
def test_the_card_is_described_by_its_driver(wish: str | int) -> None:
    found = find_device(wish)
    assert (found.name, found.kind, found.computes_bfloat16) == ("RTX 3060", "cuda", True)
    assert (found.total_bytes, found.free_bytes) == (12 * GIB, 11 * GIB)
    assert found.guessed_flops == pytest.approx(12.7e12, rel=0.01)  # the vendor's figure


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("wish", ["cpu", "cuda:1"])
def test_the_processor_stands_in_where_it_is_wished_or_the_card_is_missing(wish: str) -> None:
    found = find_device(wish)
    assert found.is_cpu
    assert found.total_bytes == psutil.virtual_memory().total
    assert 0 < found.free_bytes <= found.total_bytes


def test_without_a_driver_there_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    assert find_device("auto").is_cpu


@pytest.mark.usefixtures("driver")
def test_a_card_that_does_not_tell_its_cores_gets_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(card: object) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetNumGpuCores", refuse)
    assert find_device("auto").guessed_flops > 0


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("visible", "wish", "name"),
    [
        ("1", "auto", "RTX 4090"),
        ("1,0", "cuda:1", "RTX 3060"),
        ("GPU-4090", "cuda:0", "RTX 4090"),
        ("1", "cuda:1", None),
        ("7", "cuda:0", None),
        ("", "auto", None),
    ],
)
def test_cards_are_counted_as_a_run_sees_them(
    visible: str, wish: str, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("RTX 3060", "RTX 4090")
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", lambda card: names[card])
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetUUID", lambda card: f"GPU-{names[card][4:]}-0000", raising=False
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = find_device(wish)
    assert (None if found.is_cpu else found.name) == name
