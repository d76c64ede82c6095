"""Memory in use, as the system and the card report it."""

from __future__ import annotations

import time

import psutil
import torch

from studio.core.events.types import MemoryMeasured


class MemoryMeter:
    """States the memory in use, at most once per ``interval_seconds``."""

    def __init__(self, device: torch.device, interval_seconds: float = 1.0) -> None:
        self._device = device
        self._interval_seconds = interval_seconds
        self._last_seconds = float("-inf")
        self._peak_bytes = 0

    def measure_if_due(self, step: int) -> MemoryMeasured | None:
        """Returns a measurement, or None when the last one is too young."""
        now = time.monotonic()
        if now - self._last_seconds < self._interval_seconds:
            return None
        self._last_seconds = now
        return self.measure(step)

    def measure(self, step: int) -> MemoryMeasured:
        """Returns a measurement of now."""
        if self._device.type == "cuda":
            used = torch.cuda.memory_allocated(self._device)
            self._peak_bytes = torch.cuda.max_memory_allocated(self._device)
            total = torch.cuda.mem_get_info(self._device)[1]
        else:
            used = psutil.Process().memory_info().rss
            self._peak_bytes = max(self._peak_bytes, used)
            total = psutil.virtual_memory().total
        return MemoryMeasured(
            step=step,
            device=str(self._device),
            used_bytes=used,
            peak_bytes=self._peak_bytes,
            total_bytes=total,
        )


def get_free_bytes(device: torch.device) -> int:
    """Returns how much memory can still be taken on ``device``."""
    if device.type == "cuda":
        # what the allocator holds back for later can be had as well
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    return int(psutil.virtual_memory().available)
