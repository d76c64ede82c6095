"""What the answers to probes mean: kept, changed or broken, and what can be done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from studio.core.events.measures import ProbeAnswered
from studio.core.forgetting.probes import AREAS, OWN_AREA, Probe, is_looping

State = Literal["kept", "changed", "broken", "unknown"]
MUCH_DIVERGENCE = 0.5
"""Nats per token by which an adapter's words must differ to count as changed."""
_FEWEST_KNOWN = 2
_BROKEN_FRACTION = 0.25
_LIKE_THE_BASE = 0.3

REMEDY = (
    "Try a lower strength of the adapter (the mixing desk shows at once what is left), fewer "
    "epochs or a smaller learning rate, a smaller rank, or mix ordinary questions and answers into "
    "the training data."
)


@dataclass(frozen=True)
class AreaVerdict:
    """How one adapter does in one area.

    ``known`` is how many probes the base answers rightly, ``kept`` how many of those the adapter
    still does, ``gained`` how many others it does instead. ``divergence`` is the mean
    Kullback-Leibler divergence from the base on the base's own answers, in nats per token.
    """

    area: str
    column: str
    probes: int
    known: int
    kept: int
    gained: int
    divergence: float
    state: State

    @property
    def lost(self) -> int:
        """How many probes the base answers and the adapter no longer does."""
        return self.known - self.kept


def is_right(probe: Probe, answer: str, base_answer: str, divergence: float) -> bool:
    """Returns whether an answer counts as right.

    A probe without a sign counts as right while the answer shares words with the base's, or the
    words themselves are hardly less likely than they were.
    """
    if probe.has_sign:
        return probe.is_met_by(answer)
    if not answer.strip() or is_looping(answer):
        return False
    return divergence < MUCH_DIVERGENCE or _share_words(answer, base_answer) >= _LIKE_THE_BASE


def judge(answered: Iterable[ProbeAnswered], columns: Sequence[str]) -> tuple[AreaVerdict, ...]:
    """Returns a verdict for each area and each column after the first, which is the base."""
    by_area: dict[str, list[ProbeAnswered]] = {area: [] for area in AREAS}
    for one in answered:
        by_area.setdefault(one.area, []).append(one)
    return tuple(
        _judge_area(area, column, columns[0], probes)
        for area, probes in by_area.items()
        if probes
        for column in columns[1:]
    )


def describe_verdict(verdict: AreaVerdict) -> str:
    """Returns what one verdict means, in a sentence or two."""
    area = AREAS.get(verdict.area, verdict.area)
    if verdict.state == "unknown":
        return (
            f"{area}: the base itself answers {verdict.known} of {verdict.probes} rightly, so "
            "there is little to forget."
        )
    text = f"{area}: {verdict.kept} of {verdict.known} that the base can do still work."
    if verdict.state == "broken":
        return f"{text} {verdict.lost} no longer: this broke."
    if verdict.lost:
        return f"{text} {verdict.lost} no longer."
    if verdict.state == "changed":
        return f"{text} The words have changed a lot, though."
    return text


def describe_outcome(verdicts: Sequence[AreaVerdict]) -> tuple[Literal["success", "error"], str]:
    """Returns ``error`` if anything broke, and what, in one sentence."""
    broken = [one for one in verdicts if one.state == "broken"]
    if not broken:
        if all(one.state == "unknown" for one in verdicts):
            return "success", "This base could do nothing that was asked, so nothing could break."
        return "success", "Nothing broke: what the base could do still works."
    by_column: dict[str, list[str]] = {}
    for one in broken:
        by_column.setdefault(one.column, []).append(AREAS.get(one.area, one.area))
    parts = (f"{column} broke {', '.join(areas)}" for column, areas in by_column.items())
    return "error", f"{'; '.join(parts)}."


def _judge_area(area: str, column: str, base: str, probes: Sequence[ProbeAnswered]) -> AreaVerdict:
    known = [one for one in probes if one.right.get(base)]
    kept = sum(one.right.get(column, False) for one in known)
    gained = sum(one.right.get(column, False) for one in probes if not one.right.get(base))
    divergence = sum(one.divergences.get(column, 0.0) for one in probes) / len(probes)
    lost = len(known) - kept
    state: State = "kept"
    if not known or (area != OWN_AREA and len(known) < _FEWEST_KNOWN):
        state = "unknown"
    elif (area == OWN_AREA and lost) or (
        lost >= _FEWEST_KNOWN and lost >= _BROKEN_FRACTION * len(known)
    ):
        state = "broken"
    elif lost or divergence >= MUCH_DIVERGENCE:
        state = "changed"
    return AreaVerdict(area, column, len(probes), len(known), kept, gained, divergence, state)


def _share_words(text: str, other: str) -> float:
    one, two = Counter(text.casefold().split()), Counter(other.casefold().split())
    total = one.total() + two.total()
    return 2 * (one & two).total() / total if total else 1.0
