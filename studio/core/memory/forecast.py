"""Everything that is shown about a recipe before it starts: memory, time, and what to change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec
from studio.core.memory.fit import Advice, Question, apply_advice, find_advice
from studio.core.memory.ledger import Ledger, build_ledger
from studio.core.memory.measured import Measurements
from studio.core.memory.rows import RowLengths
from studio.core.memory.speed import TimeEstimate, estimate_time
from studio.core.recipe.schema import Recipe

Verdict = Literal["fits", "tight", "too_large"]
_TIGHT_SHARE = 0.92
"""Forecasts are off by a few percent; what is closer to the limit than that may not fit."""


@dataclass(frozen=True)
class Forecast:
    """What a recipe needs. ``advised_bytes`` is the total after the needed advice, if any."""

    ledger: Ledger
    time: TimeEstimate
    device: DeviceSpec
    rows: RowLengths
    budget_bytes: int
    fits: bool
    question: Question
    advice: tuple[Advice, ...] = ()
    advised_bytes: int | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether it fits, and whether so closely that it may not."""
        if not self.fits:
            return "too_large"
        is_tight = self.ledger.total_bytes > _TIGHT_SHARE * self.budget_bytes
        return "tight" if is_tight else "fits"


def build_forecast(
    recipe: Recipe,
    anatomy: Anatomy,
    device: DeviceSpec,
    rows: RowLengths,
    budget_bytes: int,
    measurements: Measurements | None = None,
) -> Forecast:
    """Return the forecast of ``recipe``, corrected by what was measured before; without advice.

    Quick enough to follow a knob that moves.

    Raises:
        RecipeInvalid: The adapter's targets or layers do not exist in this model.
    """
    ledger = build_ledger(recipe, anatomy, device, rows)
    found = measurements.find(device, anatomy, recipe, ledger) if measurements else None
    correction = found.build_correction() if found else None
    if correction:
        ledger = build_ledger(recipe, anatomy, device, rows, correction)
    time = estimate_time(recipe, anatomy, device, ledger, found.flops_per_second if found else None)
    question = Question(recipe, anatomy, device, rows, budget_bytes, correction)
    fits = ledger.fits(budget_bytes, device.computer_bytes)
    return Forecast(ledger, time, device, rows, budget_bytes, fits, question)


def advise(forecast: Forecast, is_cancelled: Callable[[], bool] = lambda: False) -> Forecast:
    """Return the forecast with what to change so that it fits; takes up to a second."""
    advice = tuple(find_advice(forecast.question, is_cancelled))
    advised = None
    if any(item.is_needed for item in advice):
        advised_recipe = apply_advice(forecast.question.recipe, advice)
        advised = forecast.question.forecast(advised_recipe).total_bytes
    return replace(forecast, advice=advice, advised_bytes=advised)
