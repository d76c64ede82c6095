"""Learning-rate schedules in closed form: a factor between 0 and 1 for every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping


def constant(progress: float) -> float:
    """Returns 1 at every point of the run."""
    del progress
    return 1.0


def linear(progress: float) -> float:
    """Returns a straight line from 1 to 0; ``progress`` runs from 0 to 1."""
    return 1.0 - progress


def cosine(progress: float) -> float:
    """Returns half a cosine wave from 1 to 0; ``progress`` runs from 0 to 1.

    Source: Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts.
    """
    return 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
}


def get_warmup_steps(total_steps: int, warmup_fraction: float) -> int:
    """Returns the number of steps in which the rate rises; at least one step is left after it."""
    return min(math.ceil(total_steps * warmup_fraction), max(total_steps - 1, 0))


def get_factor(name: str, step: int, total_steps: int, warmup_fraction: float) -> float:
    """Returns the factor on the learning rate for optimizer step ``step`` (the first is 0).

    The rate rises in a straight line to 1 and then follows the schedule; like the schedules of
    transformers, step 0 of a run without warm-up has the full rate.
    """
    warmup_steps = get_warmup_steps(total_steps, warmup_fraction)
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return SCHEDULES[name](min(progress, 1.0))
