"""Everything that is shown about a recipe before it starts: memory, time, and what to change."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec
from studio.core.memory.fit import Advice, Question, apply_advice, find_advice
from studio.core.memory.ledger import Ledger, build_ledger
from studio.core.memory.measured import find_measurement
from studio.core.memory.rows import RowLengths
from studio.core.memory.speed import TimeEstimate, estimate_time
from studio.core.paths import Home
from studio.core.recipe.schema import Recipe


@dataclass(frozen=True)
class Forecast:
    """What a recipe needs. ``advised_bytes`` is the total after the needed advice, if any."""

    ledger: Ledger
    time: TimeEstimate
    device: DeviceSpec
    rows: RowLengths
    budget_bytes: int
    fits: bool
    advice: tuple[Advice, ...] = ()
    advised_bytes: int | None = None


def build_forecast(
    recipe: Recipe,
    anatomy: Anatomy,
    device: DeviceSpec,
    rows: RowLengths,
    budget_bytes: int,
    home: Home | None = None,
) -> Forecast:
    """Return the forecast of ``recipe``, corrected by what was measured before in ``home``.

    Raises:
        RecipeInvalid: The adapter's targets or layers do not exist in this model.
    """
    ledger = build_ledger(recipe, anatomy, device, rows)
    found = find_measurement(home, device, anatomy, recipe, ledger) if home else None
    correction = found.build_correction() if found else None
    if correction:
        ledger = build_ledger(recipe, anatomy, device, rows, correction)
    time = estimate_time(recipe, anatomy, device, ledger, found.flops_per_second if found else None)
    question = Question(recipe, anatomy, device, rows, budget_bytes, correction)
    advice = tuple(find_advice(question))
    advised = None
    if any(item.is_needed for item in advice):
        advised = question.forecast(apply_advice(recipe, advice)).total_bytes
    fits = ledger.fits(budget_bytes)
    return Forecast(ledger, time, device, rows, budget_bytes, fits, advice, advised)
