"""Ranks agree with what can be computed by hand and with other ways to the same numbers."""

from __future__ import annotations

import math
import random

import pytest
from scipy import optimize

from studio.core.compare.ratings import START_ELO, Choice, compute_elo, fit_strengths, rate

_POINTS = 400 / math.log(10)


def _duels(first: str, second: str, won: int, lost: int, tied: int = 0) -> list[Choice]:
    pair = (first, second)
    return [Choice(pair, 0)] * won + [Choice(pair, 1)] * lost + [Choice(pair, None)] * tied


def test_elo_follows_the_formula_game_by_game() -> None:
    after_one = compute_elo([Choice(("a", "b"), 0)], step=32)
    assert after_one == {"a": 1016.0, "b": 984.0}
    second = compute_elo([Choice(("a", "b"), 0), Choice(("b", "a"), 0)], step=32)
    expected = 1 / (1 + 10 ** (32 / 400))
    assert second["b"] == pytest.approx(984 + 32 * (1 - expected), abs=1e-12)
    assert sum(second.values()) == pytest.approx(2 * START_ELO)
    tie = compute_elo([Choice(("a", "b"), 0), Choice(("a", "b"), None)], step=32)
    assert tie["a"] == pytest.approx(1016 + 32 * (0.5 - 1 / (1 + 10 ** (-32 / 400))), abs=1e-12)


def test_a_vote_between_many_moves_elo_as_much_as_a_vote_between_two() -> None:
    found = compute_elo([Choice(("a", "b", "c", "d"), 1)], step=32)
    assert found["b"] == pytest.approx(1016.0)
    assert found["a"] == found["c"] == found["d"] == pytest.approx(1000 - 16 / 3)
    assert compute_elo([Choice(("a", "b", "c"), None)]) == dict.fromkeys("abc", START_ELO)


def test_equals_of_the_best_answer_share_the_vote_and_are_no_winners_over_it() -> None:
    shared = Choice(("a", "b", "c"), 0, equals=(0, 2))
    elo = compute_elo([shared], step=32)
    assert elo["a"] == elo["c"] == pytest.approx(1008.0)
    assert elo["b"] == pytest.approx(984.0)
    strengths = fit_strengths([shared] * 6, prior_ties=0.5)
    assert strengths["a"][0] == pytest.approx(strengths["c"][0])
    assert strengths["a"][0] > strengths["b"][0]
    assert [(one.wins, one.ties, one.losses) for one in rate([shared])] == [
        (1, 0, 0), (1, 0, 0), (0, 0, 1)
    ]  # fmt: skip
    alike = Choice(("a", "b"), 0, equals=(0, 1))
    assert compute_elo([alike]) == compute_elo([Choice(("a", "b"), None)])
    assert fit_strengths([alike]) == fit_strengths([Choice(("a", "b"), None)])
    assert {(one.wins, one.ties) for one in rate([alike])} == {(0, 1)}


def test_two_contestants_have_the_closed_form_of_bradley_and_terry() -> None:
    found = fit_strengths(_duels("a", "b", 30, 12), prior_ties=0)
    difference = found["a"][0] - found["b"][0]
    assert difference == pytest.approx(math.log(30 / 12), abs=1e-9)
    # the error of the difference is sqrt(1/won + 1/lost); of each from their mean it is half
    assert found["a"][1] == pytest.approx(math.sqrt(1 / 30 + 1 / 12) / 2, abs=1e-9)
    tied = fit_strengths(_duels("a", "b", 10, 4, 6), prior_ties=0)
    assert tied["a"][0] - tied["b"][0] == pytest.approx(math.log(13 / 7), abs=1e-9)


def test_many_contestants_have_the_largest_likelihood() -> None:
    """Against a general optimiser, with votes between two, three and four."""
    chance = random.Random(3)
    names = ("a", "b", "c", "d", "e")
    choices = []
    for _ in range(120):
        group = tuple(chance.sample(names, chance.choice((2, 3, 4))))
        weights = [1 + names.index(name) for name in group]
        choices.append(Choice(group, chance.choices(range(len(group)), weights)[0]))

    def loss(theta: list[float]) -> float:
        value = dict(zip(names, theta, strict=True))
        total = 0.0
        for choice in choices:
            powers = [math.exp(value[name]) for name in choice.names]
            total -= math.log(powers[choice.winner or 0] / sum(powers))
        return total + 0.5 * sum(theta) ** 2 / len(names)

    best = optimize.minimize(loss, [0.0] * 5, method="BFGS", options={"gtol": 1e-9}).x
    found = fit_strengths(choices, prior_ties=0)
    for name, value in zip(names, best, strict=True):
        assert found[name][0] == pytest.approx(value, abs=1e-4)


def test_who_always_won_stays_finite_and_has_a_wide_interval() -> None:
    (best, worst) = rate(_duels("good", "bad", 5, 0))
    assert (best.name, best.votes, best.wins, best.losses, best.ties) == ("good", 5, 5, 0, 0)
    assert worst.losses == 5
    assert 1000 < best.strength < 2000
    assert best.strength_low < best.strength < best.strength_high
    assert best.strength_high - best.strength_low > 200
    assert best.elo_low <= best.elo <= best.elo_high


def test_intervals_shrink_with_the_votes_and_hold_the_truth() -> None:
    chance = random.Random(1)
    truth = {"a": 0.8, "b": 0.0, "c": -0.8}
    choices = []
    for _ in range(900):
        pair = tuple(chance.sample(sorted(truth), 2))
        share = 1 / (1 + math.exp(truth[pair[1]] - truth[pair[0]]))
        choices.append(Choice(pair, 0 if chance.random() < share else 1))
    few, many = rate(choices[:60]), rate(choices)
    assert [rating.name for rating in many] == ["a", "b", "c"]
    for rating in many:
        assert rating.strength_low < 1000 + truth[rating.name] * _POINTS < rating.strength_high
    width = {one.name: one.strength_high - one.strength_low for one in few}
    assert all(one.strength_high - one.strength_low < width[one.name] / 3 for one in many)
    assert rate(choices) == many


def test_without_votes_there_are_no_ranks() -> None:
    assert rate([]) == []
