"""What to change so that a recipe fits into the memory: single changes, and the cheapest set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from studio.core.memory.anatomy import Anatomy
from studio.core.memory.card import DeviceSpec
from studio.core.memory.changes import Change, Option, apply_change, iter_options
from studio.core.memory.ledger import Correction, Ledger, build_ledger
from studio.core.memory.rows import RowLengths
from studio.core.memory.speed import estimate_time
from studio.core.recipe.fields import get_field_table
from studio.core.recipe.schema import Recipe


@dataclass(frozen=True)
class Advice:
    """One thing to change. ``changes`` maps keys of the recipe to their new values.

    ``saved_bytes`` is what it saves alone, ``slowdown`` how much longer a step takes (0.25 = a
    quarter longer; negative = faster). ``is_needed``: it belongs to the cheapest set of changes
    that fits. ``is_available``: this version can do it already.
    """

    key: str
    label: str
    reason: str
    changes: tuple[Change, ...]
    saved_bytes: int
    slowdown: float
    is_available: bool
    is_needed: bool = False


@dataclass(frozen=True)
class Question:
    """What a fit is asked for: a recipe, a model, a device, rows, and the bytes allowed."""

    recipe: Recipe
    anatomy: Anatomy
    device: DeviceSpec
    rows: RowLengths
    budget_bytes: int
    correction: Correction | None = None

    def forecast(self, recipe: Recipe) -> Ledger:
        """Return the ledger of a changed recipe."""
        return build_ledger(recipe, self.anatomy, self.device, self.rows, self.correction)

    def fits(self, recipe: Recipe) -> bool:
        """Return whether a changed recipe fits."""
        return self.is_enough(self.forecast(recipe))

    def is_enough(self, ledger: Ledger) -> bool:
        """Return whether this much memory is there, on the device and in the computer."""
        return ledger.fits(self.budget_bytes, self.device.computer_bytes)

    def estimate_seconds(self, recipe: Recipe, ledger: Ledger) -> float:
        """Return the time of an epoch of ``recipe``."""
        return estimate_time(recipe, self.anatomy, self.device, ledger).seconds_per_epoch


def find_advice(
    question: Question, is_cancelled: Callable[[], bool] = lambda: False
) -> list[Advice]:
    """Return what saves memory, the cheapest first; empty where the recipe fits as it is.

    Those with ``is_needed``, applied together, fit; none is needed where nothing fits. Changes
    that this version can do are preferred, even where a later one would cost less.

    Raises:
        RecipeInvalid: The recipe's own targets or layers do not exist in the model.
    """
    if question.fits(question.recipe):
        return []
    options = list(iter_options(question.recipe, question.anatomy, question.device, question.rows))
    at_hand = [option for option in options if is_available(option.strongest)]
    needed = _find_set(question, at_hand, is_cancelled)
    if needed is None and len(at_hand) < len(options):
        needed = _find_set(question, options, is_cancelled)
    needed = needed or {}
    return [
        advice
        for option in options
        if (advice := _build_advice(question, option, needed.get(option.key))) is not None
    ]


def apply_advice(recipe: Recipe, advice: Sequence[Advice]) -> Recipe:
    """Return the recipe with the changes of all ``advice`` that is needed."""
    for item in advice:
        if item.is_needed:
            recipe = apply_change(recipe, item.changes)
    return recipe


def describe_slowdown(slowdown: float) -> str:
    """Return the price of a change in time, in words: "12 % slower"."""
    percent = round(abs(slowdown) * 100)
    if not percent:
        return "as fast as before"
    return f"{percent} % {'slower' if slowdown > 0 else 'faster'}"


def is_available(changes: Sequence[Change]) -> bool:
    """Return whether this version can act on every new value."""
    table = get_field_table()
    return all(table[key].is_available(value) for key, value in changes)


def _find_set(
    question: Question, options: Sequence[Option], is_cancelled: Callable[[], bool]
) -> dict[str, tuple[Change, ...]] | None:
    """Return the new values by option, the cheapest set that fits; None where none does."""
    chosen = _collect(question, options)
    if chosen is None:
        chosen = _search(question, options, is_cancelled)
    if chosen is None:
        return None
    # Twice: what was dropped for a stronger change may be needed beside the milder one.
    return _soften(question, options, _soften(question, options, chosen))


def _soften(
    question: Question, options: Sequence[Option], chosen: dict[str, tuple[Change, ...]]
) -> dict[str, tuple[Change, ...]]:
    """Leave each option out, or take its mildest level that is enough; the dearest option first."""
    for option in reversed(options):
        if option.key not in chosen:
            continue
        others = {key: changes for key, changes in chosen.items() if key != option.key}
        milder = [others, *({**others, option.key: level} for level in option.levels)]
        chosen = next(
            (one for one in milder if question.fits(_apply(question.recipe, one))), chosen
        )
    return chosen


def _collect(question: Question, options: Sequence[Option]) -> dict[str, tuple[Change, ...]] | None:
    """Take the cheapest option that saves something, again and again, until it fits.

    What saved nothing before may do so now: fewer tokens at once help after layers are recomputed.
    """
    chosen: dict[str, tuple[Change, ...]] = {}
    size = question.forecast(question.recipe).total_bytes
    left = list(options)
    while left:
        for option in left:
            found = question.forecast(
                _apply(question.recipe, chosen | {option.key: option.strongest})
            )
            if question.is_enough(found) or found.total_bytes < size:
                break
        else:
            return None
        chosen[option.key] = option.strongest
        if question.is_enough(found):
            return chosen
        size = found.total_bytes
        left.remove(option)
    return None


def _search(
    question: Question, options: Sequence[Option], is_cancelled: Callable[[], bool]
) -> dict[str, tuple[Change, ...]] | None:
    """Try every set of options: one may make another useless, as recomputing a single layer."""
    for picked in product((True, False), repeat=len(options)):
        if is_cancelled():
            return None
        chosen = {
            option.key: option.strongest
            for option, is_in in zip(options, picked, strict=True)
            if is_in
        }
        if question.fits(_apply(question.recipe, chosen)):
            return chosen
    return None


def _apply(recipe: Recipe, chosen: dict[str, tuple[Change, ...]]) -> Recipe:
    for changes in chosen.values():
        recipe = apply_change(recipe, changes)
    return recipe


def _build_advice(
    question: Question, option: Option, needed: tuple[Change, ...] | None
) -> Advice | None:
    """Return an option in words, with what it saves alone; None where that is nothing."""
    changes = needed or _choose_level(question, option)
    before = question.forecast(question.recipe)
    changed = apply_change(question.recipe, changes)
    after = question.forecast(changed)
    saved = before.total_bytes - after.total_bytes
    if saved <= 0 and needed is None:
        return None
    seconds_before = question.estimate_seconds(question.recipe, before)
    seconds_after = question.estimate_seconds(changed, after)
    slower = seconds_after / seconds_before * (1 + option.penalty) - 1
    return Advice(
        key=option.key,
        label=option.label,
        reason=option.reason,
        changes=changes,
        saved_bytes=saved,
        slowdown=slower,
        is_available=is_available(changes),
        is_needed=needed is not None,
    )


def _choose_level(question: Question, option: Option) -> tuple[Change, ...]:
    """Return the mildest level that is enough alone, or the strongest."""
    for level in option.levels:
        if question.fits(apply_change(question.recipe, level)):
            return level
    return option.strongest
