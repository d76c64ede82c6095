"""Forecasts of the draft while it is edited: files are read beside the GUI thread, sums are not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.errors import RecipeInvalid, StudioError
from studio.core.hub.layers import HubLayers
from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec, find_device, limit_device
from studio.core.memory.forecast import Forecast, advise, build_forecast
from studio.core.memory.measured import Measurements
from studio.core.memory.model import load_anatomy
from studio.core.memory.rows import RowLengths
from studio.core.memory.text_lengths import assume_longest, guess_rows
from studio.core.network.gate import Gate
from studio.core.paths import Home
from studio.core.recipe.schema import Recipe
from studio.gui.bridge.background import Background, BackgroundCall, Cancellation

_ADVICE_DELAY_MS = 150
_UNSTEADY_SHARE = 0.01
"""Free memory always moves a little; only more than this share of all memory is news."""
_Key = tuple[object, ...]


@dataclass(frozen=True)
class Facts:
    """What does not change while a knob moves: the model, its data, the device, measurements."""

    anatomy: Anatomy
    rows: RowLengths
    device: DeviceSpec
    measurements: Measurements


class Forecaster(QObject):
    """Tells at once what a recipe needs, and soon after what to change so that it fits.

    Signals:
        device_seen: This computer's ``DeviceSpec``, with the memory that is free now.
        forecast_made: A ``Forecast`` without advice.
        advice_found: The newest ``Forecast`` once more, with advice; only where it does not fit.
        reading_started: The model or the data has to be read first.
        failed: Why there is no forecast; a ``StudioError``.
    """

    device_seen = Signal(object)
    forecast_made = Signal(object)
    advice_found = Signal(object)
    reading_started = Signal()
    failed = Signal(object)

    def __init__(
        self, background: Background, home: Home, gate: Gate, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._background = background
        self._home = home
        self._hub = HubLayers(gate)
        self._budget_gib: int | None = None
        self._recipe: Recipe | None = None
        self._base_folder = Path()
        self._facts: Facts | None = None
        self._key: _Key = ()
        self._counted: dict[_Key, tuple[int | str, RowLengths]] = {}
        self._reading: BackgroundCall | None = None
        self._advising: BackgroundCall | None = None
        self._forecast: Forecast | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_ADVICE_DELAY_MS)
        self._timer.timeout.connect(self._find_advice)

    @property
    def facts(self) -> Facts | None:
        """What is known of the recipe's model and data, None until it was read."""
        return self._facts

    @property
    def forecast(self) -> Forecast | None:
        """The newest forecast, without advice; None where there is none."""
        return self._forecast

    def show_recipe(self, recipe: Recipe, base_folder: Path) -> None:
        """Forecasts a recipe; what has to be read for it is read first."""
        self._recipe, self._base_folder = recipe, base_folder
        if _get_key(recipe) == self._key:
            self._compute()
            return
        self._facts = None
        self.read_again()
        self.reading_started.emit()

    def choose_budget(self, gib: int | None) -> None:
        """Forecasts for a card with this much memory, or for this computer with None."""
        self._budget_gib = gib
        self._compute()

    def read_again(self) -> None:
        """Reads model, data, device and measurements anew; a forecast that is there stays."""
        if self._recipe is None:
            return
        if self._reading is not None:
            self._reading.cancel()
        recipe, base_folder, home, hub = self._recipe, self._base_folder, self._home, self._hub
        self._key = _get_key(recipe)
        self._reading = self._background.start(
            lambda cancellation: _read(recipe, base_folder, home, hub, cancellation),
            partial(self._on_read, self._key),
            partial(self._on_failed, self._key),
        )

    def build_forecast_here(self) -> Forecast | None:
        """Return the forecast for this computer, whatever card was chosen; None if unknown."""
        return None if self._facts is None else self._build(self._facts, self._facts.device)

    def look_at_device(self) -> None:
        """Looks how much memory is free now."""
        if self._facts is not None and self._recipe is not None:
            wish = self._recipe.train.devices
            self._background.start(
                lambda _cancellation: find_device(wish),
                partial(self._on_device_seen, self._key),
                self.failed.emit,
            )

    def learn_rows(self, recipe: Recipe, rows: RowLengths) -> None:
        """Takes over the rows of the data as a job has counted them for ``recipe``."""
        self._counted[_get_key(recipe)] = (recipe.data.max_tokens, rows)
        self.read_again()

    def forget(self) -> None:
        """Drops the recipe: it cannot be forecast as it stands."""
        self._drop_advice()
        self._recipe, self._forecast = None, None

    def _on_read(self, key: _Key, facts: Facts | None) -> None:
        if key != self._key or facts is None:
            return
        self._facts = facts
        self.device_seen.emit(facts.device)
        self._compute()

    def _on_device_seen(self, key: _Key, device: DeviceSpec) -> None:
        facts = self._facts
        if key != self._key or facts is None:
            return
        self.device_seen.emit(device)
        moved = abs(device.free_bytes - facts.device.free_bytes)
        if moved > _UNSTEADY_SHARE * facts.device.total_bytes:
            self._facts = replace(facts, device=device)
            self._compute()

    def _on_failed(self, key: _Key, error: StudioError) -> None:
        if key == self._key:
            self._key = ()  # the next change tries again
            self._forecast = None
            self.failed.emit(error)

    def _compute(self) -> None:
        self._drop_advice()
        facts = self._facts
        if facts is None or self._recipe is None:
            return
        device = facts.device
        if self._budget_gib is not None:
            device = limit_device(device, self._budget_gib)
        try:
            self._forecast = self._build(facts, device)
        except RecipeInvalid as error:
            self._forecast = None
            self.failed.emit(error)
            return
        self.forecast_made.emit(self._forecast)
        if self._forecast is not None and not self._forecast.fits:
            self._timer.start()

    def _build(self, facts: Facts, device: DeviceSpec) -> Forecast | None:
        recipe = self._recipe
        if recipe is None:
            return None
        rows = self._choose_rows(facts, recipe)
        return build_forecast(
            recipe, facts.anatomy, device, rows, device.free_bytes, facts.measurements
        )

    def _choose_rows(self, facts: Facts, recipe: Recipe) -> RowLengths:
        """Return the rows as counted, if they still say enough, else as guessed."""
        wish = recipe.data.max_tokens
        cut_to, counted = self._counted.get(_get_key(recipe), (None, None))
        if counted is not None:
            is_shorter = isinstance(wish, int) and wish <= counted.longest
            if wish == cut_to or is_shorter:
                return counted
        if facts.rows.is_assumed:
            return assume_longest(recipe, facts.anatomy.layers.context_tokens)
        return facts.rows

    def _find_advice(self) -> None:
        forecast = self._forecast
        if forecast is not None:
            self._advising = self._background.start(
                lambda cancellation: advise(forecast, lambda: cancellation.is_set),
                self.advice_found.emit,
                self.failed.emit,
            )

    def _drop_advice(self) -> None:
        self._timer.stop()
        if self._advising is not None:
            self._advising.cancel()
            self._advising = None


def _get_key(recipe: Recipe) -> _Key:
    """Return what the facts depend on."""
    base, data = recipe.base, recipe.data
    return (base.model, base.revision, repr(data.train), data.supervise, recipe.train.devices)


def _read(
    recipe: Recipe, base_folder: Path, home: Home, hub: HubLayers, cancellation: Cancellation
) -> Facts | None:
    anatomy = load_anatomy(recipe, base_folder, hub, is_cancelled=lambda: cancellation.is_set)
    if cancellation.is_set:
        return None
    rows = guess_rows(recipe, base_folder, anatomy.vocabulary, anatomy.layers.context_tokens)
    return Facts(anatomy, rows, find_device(recipe.train.devices), Measurements.load(home))
