"""How a graphics card is doing while it works: memory, temperature, and whether it slows down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CardReading:
    """One look at a card. ``is_throttled``: it runs slower because it is hot.

    ``full_clock_mhz`` is the highest clock it is built for. What a card does not tell is 0.
    """

    used_bytes: int
    total_bytes: int
    temperature_celsius: int
    clock_mhz: int
    full_clock_mhz: int
    is_throttled: bool

    @property
    def used_fraction(self) -> float:
        """The share of the memory in use by all programs together."""
        return self.used_bytes / self.total_bytes if self.total_bytes else 0.0


class CardGauge:
    """Reads one card again and again; the driver is opened once and stays open.

    ``card`` is what the driver calls it: its UUID, or its number where that is not known.
    """

    def __init__(self, card: str | int) -> None:
        self._name = card
        self._card: Any = None
        self._is_silent = False

    def read(self) -> CardReading | None:
        """Return how the card is doing, or None where its driver does not tell."""
        if self._is_silent:
            return None
        import pynvml

        try:
            if self._card is None:
                self._card = _open(pynvml, self._name)
            return _read(pynvml, self._card)
        except pynvml.NVMLError:
            self._is_silent = True  # asked once more it would say the same
            return None


def _open(driver: Any, name: str | int) -> Any:
    driver.nvmlInit()  # given back when the process ends
    if isinstance(name, int):
        return driver.nvmlDeviceGetHandleByIndex(name)
    uuid = name if name.startswith("GPU-") else f"GPU-{name}"
    return driver.nvmlDeviceGetHandleByUUID(uuid)


def _read(driver: Any, card: Any) -> CardReading:
    memory = driver.nvmlDeviceGetMemoryInfo(card)

    def ask(question: str, *words: int) -> int:
        # cards of notebooks and those below a Linux inside Windows tell their memory alone
        try:
            return int(getattr(driver, question)(card, *words))
        except driver.NVMLError:
            return 0

    reasons = ask("nvmlDeviceGetCurrentClocksThrottleReasons")
    hot = (
        driver.nvmlClocksThrottleReasonSwThermalSlowdown
        | driver.nvmlClocksThrottleReasonHwThermalSlowdown
    )
    return CardReading(
        used_bytes=int(memory.total) - int(memory.free),
        total_bytes=int(memory.total),
        temperature_celsius=ask("nvmlDeviceGetTemperature", driver.NVML_TEMPERATURE_GPU),
        clock_mhz=ask("nvmlDeviceGetClockInfo", driver.NVML_CLOCK_SM),
        full_clock_mhz=ask("nvmlDeviceGetMaxClockInfo", driver.NVML_CLOCK_SM),
        is_throttled=bool(reasons & hot),
    )
