"""The watch of measurements on the processor: CPU seconds and the highest memory."""

from __future__ import annotations

import resource
from typing import Any

import torch

from studio.engine.train.peak import PeakMeter
from tests.benchmarks.training.cases import WARM_STEPS


class Stopwatch:
    """CPU seconds and real tokens after the warm-up steps, the peak over all steps."""

    def __init__(self) -> None:
        self._meter = PeakMeter(torch.device("cpu"), 0)
        self._loaded_bytes = self._meter.start()
        self._step = 0
        self._seconds = _read_cpu()
        self.losses: list[float] = []

    def note_step(self) -> None:
        """Notes that an optimizer step was done."""
        self._step += 1
        if self._step == WARM_STEPS:
            self._seconds = _read_cpu()

    def stop(self, tokens: int) -> dict[str, Any]:
        """Returns what was measured; ``tokens`` are the real ones after the warm-up."""
        seconds = _read_cpu() - self._seconds
        extra = self._meter.stop() - self._loaded_bytes
        return {"tokens": tokens, "seconds": seconds, "extra": extra, "losses": self.losses}


def _read_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
