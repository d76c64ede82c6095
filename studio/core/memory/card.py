"""Where a recipe would run: the graphics card as its driver describes it, or the processor."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal

import psutil

from studio.core.jobs.command import count_threads

CARD_SIZES = (6, 8, 10, 12, 16, 24, 32, 48, 80)
"""Memory of common graphics cards, in GiB."""
_DESKTOP_BYTES = 512 << 20
"""What the system's desktop and a browser usually take of a card's memory."""
_TYPICAL_FLOPS = {6: 10e12, 8: 15e12, 10: 25e12, 12: 18e12, 16: 25e12, 24: 50e12, 32: 90e12,
                  48: 70e12, 80: 200e12}  # fmt: skip
_CPU_FLOPS_PER_THREAD = 25e9
_BFLOAT16_CAPABILITY = 8


@dataclass(frozen=True)
class DeviceSpec:
    """A device to compute on.

    ``free_bytes`` is what a new process can take. ``guessed_flops`` is a cautious guess of the
    floating point operations per second that training reaches; a measured rate replaces it.
    ``computer_bytes`` is what is free of the computer's memory beside a card, None = not known.
    """

    name: str
    kind: Literal["cuda", "cpu"]
    total_bytes: int
    free_bytes: int
    computes_bfloat16: bool
    guessed_flops: float
    computer_bytes: int | None = None

    @property
    def is_cpu(self) -> bool:
        """Whether computing happens on the processor, with the computer's own memory."""
        return self.kind == "cpu"


def find_device(wish: str | int = "auto") -> DeviceSpec:
    """Return the device that ``train.devices`` means: a card if there is one, else the processor.

    A card that does not exist gives the processor; the run itself will refuse it in words. Cards
    are counted as a run counts them: in the driver's order, and only those that are visible.
    """
    if wish == "cpu":
        return describe_processor()
    name = str(wish)
    index = int(name.partition(":")[2] or 0) if name.startswith("cuda") else 0
    return _find_card(index) or describe_processor()


def limit_device(device: DeviceSpec, gib: int) -> DeviceSpec:
    """Return a card with this much memory: this computer's own, or a typical one where none is.

    The desktop's share is taken off. Speeds of typical cards are guesses.
    """
    total = gib << 30
    free = total - _DESKTOP_BYTES
    if not device.is_cpu:
        return replace(device, total_bytes=total, free_bytes=free)
    return DeviceSpec(
        name=f"a card with {gib} GB",
        kind="cuda",
        total_bytes=total,
        free_bytes=free,
        computes_bfloat16=True,
        guessed_flops=_TYPICAL_FLOPS.get(gib, gib * 2e12),
        computer_bytes=int(psutil.virtual_memory().available),
    )


def describe_processor() -> DeviceSpec:
    """Return this computer's processor and what memory is free at the moment."""
    memory = psutil.virtual_memory()
    return DeviceSpec(
        name=platform.processor() or platform.machine() or "processor",
        kind="cpu",
        total_bytes=int(memory.total),
        free_bytes=int(memory.available),
        computes_bfloat16=False,
        guessed_flops=_CPU_FLOPS_PER_THREAD * count_threads(),
    )


def _find_card(index: int) -> DeviceSpec | None:
    with _opened_driver() as driver:
        card = None if driver is None else _find_handle(driver, index)
        if driver is None or card is None:
            return None
        memory = driver.nvmlDeviceGetMemoryInfo(card)
        major, _ = driver.nvmlDeviceGetCudaComputeCapability(card)
        has_bfloat16 = major >= _BFLOAT16_CAPABILITY
        return DeviceSpec(
            name=str(driver.nvmlDeviceGetName(card)),
            kind="cuda",
            total_bytes=int(memory.total),
            free_bytes=int(memory.free),
            computes_bfloat16=has_bfloat16,
            guessed_flops=_guess_flops(driver, card, has_bfloat16=has_bfloat16),
            computer_bytes=int(psutil.virtual_memory().available),
        )


def _find_handle(driver: ModuleType, index: int) -> Any:
    """Return the driver's card that CUDA would call ``index``, None where there is none."""
    count = driver.nvmlDeviceGetCount()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return driver.nvmlDeviceGetHandleByIndex(index) if index < count else None
    names = [name.strip() for name in visible.split(",")]
    if index >= len(names):
        return None
    if names[index].isdigit():
        number = int(names[index])
        return driver.nvmlDeviceGetHandleByIndex(number) if number < count else None
    cards = (driver.nvmlDeviceGetHandleByIndex(number) for number in range(count))
    fits = (card for card in cards if str(driver.nvmlDeviceGetUUID(card)).startswith(names[index]))
    return next(fits, None) if names[index] else None


def _guess_flops(driver: ModuleType, card: Any, *, has_bfloat16: bool) -> float:
    """Return cores x clock x 2: about what 16-bit training reaches; half of that in 32 bits."""
    try:
        cores = int(driver.nvmlDeviceGetNumGpuCores(card))
        clock = int(driver.nvmlDeviceGetMaxClockInfo(card, driver.NVML_CLOCK_SM))
    except driver.NVMLError:  # old cards and some virtual ones do not tell
        cores, clock = 5000, 1500
    return cores * clock * 1e6 * (2.0 if has_bfloat16 else 1.0)


@contextmanager
def _opened_driver() -> Iterator[ModuleType | None]:
    """Yield NVML, or None on a computer without an NVIDIA driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()
