"""The highest memory use of this process on a device since a moment, exactly where possible."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import psutil
import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # documented in proc(5): sets the high-water mark to what is in use now
_SAMPLE_SECONDS = 0.002


class PeakMeter:
    """Memory of this process: what is in use at ``start`` and the highest value until ``stop``.

    On a card everything counts that became occupied since ``free_bytes`` was read, before the
    driver made its context; gaps that the allocator keeps are part of it.
    """

    def __init__(self, device: torch.device, free_bytes: int) -> None:
        self._device = device
        self._free_bytes = free_bytes
        self._is_exact = False
        self._sampler: _Sampler | None = None
        self._start_bytes = 0
        self._reserved_bytes = 0

    def start(self) -> int:
        """Returns the bytes in use now and begins to watch."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self._reserved_bytes = torch.cuda.memory_reserved(self._device)
            used = self._free_bytes - int(torch.cuda.mem_get_info(self._device)[0])
            self._start_bytes = max(self._reserved_bytes, used)
            return self._start_bytes
        self._is_exact = _reset_high_water()
        if not self._is_exact:
            self._sampler = _Sampler()
            self._sampler.start()
        self._start_bytes = int(psutil.Process().memory_info().rss)
        return self._start_bytes

    def stop(self) -> int:
        """Returns the highest number of bytes in use since ``start``."""
        if self._device.type == "cuda":
            grown = torch.cuda.max_memory_reserved(self._device) - self._reserved_bytes
            return self._start_bytes + grown
        peak = _read_high_water() if self._is_exact else 0
        if self._sampler is not None:
            peak = self._sampler.stop()
            self._sampler = None
        return max(self._start_bytes, peak)


class _Sampler(threading.Thread):
    """Looks at the memory of this process again and again; for systems without a mark."""

    def __init__(self) -> None:
        super().__init__(name="peak-meter", daemon=True)
        self._ended = threading.Event()
        self._process = psutil.Process()
        self._peak = 0

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._peak = max(self._peak, int(self._process.memory_info().rss))

    def stop(self) -> int:
        """Returns the highest value seen and ends the thread."""
        self._ended.set()
        self.join()
        return self._peak


def _reset_high_water() -> bool:
    if sys.platform != "linux":
        return False
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="utf-8")
    except OSError:  # some containers forbid it
        return False
    return True


def _read_high_water() -> int:
    for line in _STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise LookupError("the system states no high-water mark")
