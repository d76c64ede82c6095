"""Ranks from votes: Elo numbers and Bradley-Terry strengths, both with 95 % intervals."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

START_ELO = 1000.0
_STEP = 32.0
_SCALE = 400.0 / math.log(10.0)
_NORMAL = 1.959963984540054
_RESAMPLES = 200
_MOST_ROUNDS = 100


@dataclass(frozen=True)
class Choice:
    """One vote: the contestants and the place of the best one, None for a tie of all.

    ``equals`` are the places of those that did the same as the winner: they share the vote.
    """

    names: tuple[str, ...]
    winner: int | None
    equals: tuple[int, ...] = ()

    @property
    def best(self) -> tuple[int, ...]:
        """The places that share the vote, all of them for a tie."""
        if self.winner is None:
            return tuple(range(len(self.names)))
        return tuple(sorted({self.winner, *self.equals}))

    @property
    def is_tie(self) -> bool:
        """Whether no contestant was better than another one."""
        return len(self.best) == len(self.names)


@dataclass(frozen=True)
class Rating:
    """How one contestant stands; ratings are in Elo points around 1000, with 95 % intervals."""

    name: str
    votes: int
    wins: int
    ties: int
    elo: float
    elo_low: float
    elo_high: float
    strength: float
    strength_low: float
    strength_high: float

    @property
    def losses(self) -> int:
        """Votes that another contestant won."""
        return self.votes - self.wins - self.ties


def rate(choices: Sequence[Choice], seed: int = 0) -> list[Rating]:
    """Returns all contestants, the strongest first."""
    names = sorted({name for choice in choices for name in choice.names})
    elo = compute_elo(choices)
    spread = _resample_elo(choices, names, seed)
    strengths = fit_strengths(choices)
    ratings = []
    for name in names:
        own = [choice for choice in choices if name in choice.names]
        wins = sum(not one.is_tie and name in {one.names[at] for at in one.best} for one in own)
        strength, error = strengths[name]
        center = START_ELO + _SCALE * strength
        reach = _SCALE * _NORMAL * error
        ratings.append(
            Rating(
                name=name,
                votes=len(own),
                wins=wins,
                ties=sum(one.is_tie for one in own),
                elo=elo[name],
                elo_low=min(spread[name][0], elo[name]),
                elo_high=max(spread[name][1], elo[name]),
                strength=center,
                strength_low=center - reach,
                strength_high=center + reach,
            )
        )
    return sorted(ratings, key=lambda rating: -rating.strength)


def compute_elo(choices: Sequence[Choice], step: float = _STEP) -> dict[str, float]:
    """Returns Elo numbers after the votes in their order; everybody starts at 1000.

    A vote between several counts as a game of the winner against each other one, and those that
    share a vote as drawn games of their pairs, with ``step`` shared among the opponents.

    Source: Elo 1978, "The Rating of Chessplayers", section 1.6: R' = R + K (score - expected).
    """
    elo = {name: START_ELO for choice in choices for name in choice.names}
    for choice in choices:
        before = dict(elo)
        share = step / (len(choice.names) - 1)
        for first, second, score in _iter_games(choice):
            expected = 1.0 / (1.0 + 10.0 ** ((before[second] - before[first]) / 400.0))
            elo[first] += share * (score - expected)
            elo[second] -= share * (score - expected)
    return elo


def fit_strengths(
    choices: Sequence[Choice], prior_ties: float = 0.5
) -> dict[str, tuple[float, float]]:
    """Returns for each contestant its log strength around a mean of zero, and its standard error.

    The chance to be chosen is in proportion to strength; a tie counts as a share of the vote for
    each. ``prior_ties`` is the weight of a tie of everybody with an average opponent, which keeps
    those finite that always won or lost.

    Source: Bradley and Terry 1952, Biometrika 39; for more than two Luce 1959, "Individual Choice
    Behavior". The maximum is found by Newton's method, the errors are from the curvature there.
    """
    names = sorted({name for choice in choices for name in choice.names})
    places = {name: place for place, name in enumerate(names)}
    groups = [([places[name] for name in choice.names], choice.best) for choice in choices]
    theta = [0.0] * len(names)
    inverse: list[list[float]] = []
    for _ in range(_MOST_ROUNDS):
        slope, curvature = _measure(theta, groups, prior_ties)
        inverse = _invert(curvature)
        steps = [sum(a * b for a, b in zip(row, slope, strict=True)) for row in inverse]
        # a full step may overshoot far from the maximum
        damping = min(1.0, 2.0 / max(max(map(abs, steps), default=0.0), 1e-12))
        theta = [value + damping * step for value, step in zip(theta, steps, strict=True)]
        if max(map(abs, steps), default=0.0) < 1e-12:
            break
    mean = sum(theta) / len(theta) if theta else 0.0
    return {
        name: (theta[place] - mean, math.sqrt(max(0.0, _compute_variance(inverse, place))))
        for name, place in places.items()
    }


def _iter_games(choice: Choice) -> list[tuple[str, str, float]]:
    """Returns the pairs of one vote with the score of the first: 1 won, 0.5 drawn."""
    best = choice.best
    others = [place for place in range(len(choice.names)) if place not in best]
    games = [(one, other, 1.0) for one in best for other in others]
    games += [(one, other, 0.5) for one in best for other in best if one < other]
    return [(choice.names[one], choice.names[other], score) for one, other, score in games]


def _resample_elo(
    choices: Sequence[Choice], names: Sequence[str], seed: int
) -> dict[str, tuple[float, float]]:
    """Returns the middle 95 % of the Elo numbers over votes drawn with replacement."""
    chance = random.Random(seed)  # noqa: S311 - statistics, not secrets
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(_RESAMPLES if choices else 0):
        elo = compute_elo([chance.choice(choices) for _ in choices])
        for name in names:
            found[name].append(elo.get(name, START_ELO))
    reach = int(_RESAMPLES * 0.025)
    return {
        name: (ordered[reach], ordered[-1 - reach])
        for name, values in found.items()
        if (ordered := sorted(values))
    }


def _measure(
    theta: list[float], groups: Sequence[tuple[list[int], tuple[int, ...]]], prior_ties: float
) -> tuple[list[float], list[list[float]]]:
    """Returns the slope of the log likelihood and minus its curvature.

    Minus half the square of the sum, divided by the count, is added: it holds the mean at zero
    and changes nothing else.
    """
    count = len(theta)
    pull = -sum(theta) / count if count else 0.0
    slope = [pull] * count
    curvature = [[1.0 / count] * count for _ in range(count)]
    for place, value in enumerate(theta):
        share = 1.0 / (1.0 + math.exp(-value))
        slope[place] += prior_ties * (0.5 - share)
        curvature[place][place] += prior_ties * share * (1.0 - share)
    for members, best in groups:
        highest = max(theta[place] for place in members)
        weights = [math.exp(theta[place] - highest) for place in members]
        total = sum(weights)
        for one, place in enumerate(members):
            chance = weights[one] / total
            won = 1.0 / len(best) if one in best else 0.0
            slope[place] += won - chance
            curvature[place][place] += chance
            for other, far in enumerate(members):
                curvature[place][far] -= chance * weights[other] / total
    return slope, curvature


def _compute_variance(inverse: list[list[float]], place: int) -> float:
    """Returns the variance of one strength minus the mean of all."""
    count = len(inverse)
    whole = sum(map(sum, inverse)) / count**2
    return inverse[place][place] - 2.0 * sum(inverse[place]) / count + whole


def _invert(matrix: list[list[float]]) -> list[list[float]]:
    """Returns the inverse of a small positive definite matrix (Gauss and Jordan, with pivots)."""
    count = len(matrix)
    rows = [
        [*row, *(float(one == place) for one in range(count))] for place, row in enumerate(matrix)
    ]
    for place in range(count):
        sizes = [abs(row[place]) for row in rows[place:]]
        pivot = place + sizes.index(max(sizes))
        rows[place], rows[pivot] = rows[pivot], rows[place]
        head = rows[place][place]
        rows[place] = [value / head for value in rows[place]]
        for other in range(count):
            factor = rows[other][place]
            if other != place and factor:
                rows[other] = [
                    value - factor * own
                    for value, own in zip(rows[other], rows[place], strict=True)
                ]
    return [row[count:] for row in rows]
