"""The measures of an update in words: what each one says and how its values are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from studio.core.events.measures import ModuleLook
from studio.core.units import format_fraction


@dataclass(frozen=True)
class LookMeasure:
    """One measure: its key, its name and what it says."""

    key: str
    label: str
    help: str


LOOK_MEASURES: tuple[LookMeasure, ...] = (
    LookMeasure(
        "relative_norm",
        "Change of the weight",
        "Size of the update beside the size of the weight it changes (both as Frobenius norms: the "
        "root of the sum of all squares). 5 % means: the numbers of this layer moved by about a "
        "twentieth. Compare layers with each other here.",
    ),
    LookMeasure(
        "norm",
        "Size of the update",
        "The Frobenius norm of the update: the root of the sum of the squares of all numbers that "
        "are added to the weight. Larger layers have larger norms by nature.",
    ),
    LookMeasure(
        "effective_rank",
        "Directions used",
        "How many directions of its rank the update really uses (effective rank: exp of the "
        "entropy of the singular values). Far below the rank everywhere: a smaller rank would do. "
        "Close to the rank: a larger one may help.",
    ),
    LookMeasure(
        "stable_rank",
        "Strong directions",
        "How many directions carry most of the update (stable rank: sum of the squares of the "
        "singular values over the largest square). 1 means that one direction does nearly all.",
    ),
)


def get_measure(key: str) -> LookMeasure:
    """Returns the words of a measure.

    Raises:
        KeyError: There is no such measure.
    """
    return {one.key: one for one in LOOK_MEASURES}[key]


def get_value(measure: str, looks: Sequence[ModuleLook]) -> float | None:
    """Returns a measure of several modules together, None where it is unknown or nothing is there.

    Sizes are those of all modules as one; ranks are averages.
    """
    if not looks:
        return None
    if measure == "norm":
        return math.hypot(*(look.norm for look in looks))
    if measure == "relative_norm":
        bases = [look.base_norm for look in looks]
        known = [base for base in bases if base]
        if len(known) < len(looks):
            return None
        return math.hypot(*(look.norm for look in looks)) / math.hypot(*known)
    ranks = [
        look.stable_rank if measure == "stable_rank" else look.effective_rank for look in looks
    ]
    return sum(ranks) / len(ranks)


def format_look(measure: str, value: float | None) -> str:
    """Returns a value as people read it."""
    if value is None:
        return "unknown"
    if measure == "relative_norm":
        return format_fraction(value)
    return f"{value:.3g}" if measure == "norm" else f"{value:.1f}"
