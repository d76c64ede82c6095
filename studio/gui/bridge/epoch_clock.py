"""How long an epoch would take with another limit on the length of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from studio.core.errors import RecipeInvalid
from studio.core.events.types import LimitsMeasured
from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec, find_device
from studio.core.memory.forecast import build_forecast
from studio.core.memory.measured import Measurements
from studio.core.memory.model import load_anatomy
from studio.core.memory.rows import RowLengths
from studio.core.paths import Home
from studio.core.recipe.schema import Recipe
from studio.gui.bridge.background import Background, BackgroundCall, Cancellation

_KEPT_LENGTHS = 2048


@dataclass(frozen=True)
class EpochTime:
    """Seconds of training per epoch; ``is_guess`` where this computer was not measured."""

    seconds: float
    is_guess: bool


@dataclass(frozen=True)
class _Facts:
    anatomy: Anatomy
    device: DeviceSpec
    measurements: Measurements


class EpochClock(QObject):
    """Reads once what a model is made of, then answers at once for any limit.

    Signals:
        ready: The times can be told, or are others than before.
    """

    ready = Signal()

    def __init__(self, background: Background, home: Home, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._background = background
        self._home = home
        self._recipe: Recipe | None = None
        self._facts: _Facts | None = None
        self._key: object = None
        self._call: BackgroundCall | None = None

    def follow(self, recipe: Recipe | None, base_folder: Path) -> None:
        """Tells times for this recipe from now on; without one there are none."""
        self._recipe = recipe
        if recipe is None:
            return
        key = (recipe.base.model, recipe.base.revision, recipe.train.devices)
        if key == self._key:
            return
        self._key, self._facts = key, None
        if self._call is not None:
            self._call.cancel()
        self._call = self._background.start(
            partial(_read, recipe, base_folder, self._home), self._on_read
        )

    def find_time(self, found: LimitsMeasured, limit: int) -> EpochTime | None:
        """Return how long an epoch takes where longer rows are cut to ``limit`` tokens.

        None where it cannot be told: the recipe is not complete, or the model was not read yet.
        """
        recipe, facts = self._recipe, self._facts
        rows = build_rows(found)
        if recipe is None or facts is None or rows is None:
            return None
        data = recipe.data.model_copy(update={"max_tokens": max(1, limit)})
        try:
            forecast = build_forecast(
                recipe.model_copy(update={"data": data}),
                facts.anatomy,
                facts.device,
                rows,
                facts.device.free_bytes,
                facts.measurements,
            )
        except RecipeInvalid:  # the Recipe page says what is wrong with the adapter
            return None
        return EpochTime(forecast.time.seconds_per_epoch, forecast.time.is_guess)

    def _on_read(self, facts: _Facts) -> None:
        self._facts, self._call = facts, None
        self.ready.emit()


def build_rows(found: LimitsMeasured) -> RowLengths | None:
    """Return the lengths of the rows as a histogram tells them, None where there is no row."""
    count = found.counted_rows
    if not count or not found.rows:
        return None
    every = max(1, -(-count // _KEPT_LENGTHS))
    lengths = [
        length
        for low, high, rows in zip(found.edges, found.edges[1:], found.rows, strict=False)
        for length in [max(1, (low + high - 1) // 2)] * -(-rows // every)
    ]
    lengths += [found.longest_tokens] * -(-found.hidden_rows // every)
    ordered = tuple(sorted((min(one, found.longest_tokens) for one in lengths), reverse=True))
    mean = found.counted_tokens / count
    return RowLengths(ordered, count, mean, found.supervised_fraction)


def _read(recipe: Recipe, base_folder: Path, home: Home, cancellation: Cancellation) -> _Facts:
    anatomy = load_anatomy(recipe, base_folder, is_cancelled=lambda: cancellation.is_set)
    return _Facts(anatomy, find_device(recipe.train.devices), Measurements.load(home))
