"""How each row fared over a run: learnt, forgotten again, never learnt, or perhaps mislabelled.

Sources: Toneva et al. 2019, "An Empirical Study of Example Forgetting" (a row that was right and
is wrong later is forgotten); Swayamdipta et al. 2020, "Dataset Cartography" (rows that stay hard
over all epochs are often mislabelled); Pleiss et al. 2020, "Identifying Mislabeled Data using the
Area Under the Margin Ranking" (the margin to the favourite other answer, averaged over training,
tells wrong labels from hard rows); Iglewicz and Hoaglin 1993 (outliers by median and MAD).
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from studio.core.microscope.files import LossColumns

RowList = Literal["worst", "suspects", "forgotten", "never_learnt"]

LISTS: tuple[RowList, ...] = ("worst", "suspects", "forgotten", "never_learnt")

OUTLIER = 3.5
"""Robust standard deviations beyond which a row stands out; the value of Iglewicz and Hoaglin."""

_STILL_OUT = 2.0
_BLOCK = 256
_MAD_TO_DEVIATION = 1.4826
_LEAST_DEVIATION = 0.1
_NOTICEABLE = 0.1
"""Nats per token below which losses count as equal: dropout and other rows move them as much."""

_FELL = 0.75
_ROSE = 0.5
_HARDLY_FELL = 0.9


@dataclass(frozen=True, slots=True)
class RowStory:
    """One document; losses are nats per learnt token, one for each time it was trained on.

    ``shortfall`` is how far, the last time, the wanted tokens lay below the model's favourite ones
    (nats per token); 0 where it would have written exactly this. ``suspicion`` says by how many
    robust standard deviations that stood out from the rows of the same moment, on average over
    the run. ``forgotten`` counts how often the row was learnt and lost again.
    """

    document: int
    losses: tuple[float, ...]
    shortfall: float
    suspicion: float
    forgotten: int
    is_never_learnt: bool
    is_suspect: bool

    @property
    def first(self) -> float:
        """The loss at first sight."""
        return self.losses[0]

    @property
    def last(self) -> float:
        """The newest loss."""
        return self.losses[-1]

    @property
    def lowest(self) -> float:
        """The best it ever was."""
        return min(self.losses)

    def is_in(self, name: RowList) -> bool:
        """Returns whether the row belongs into a list."""
        return {
            "worst": True,
            "suspects": self.is_suspect,
            "forgotten": self.forgotten > 0,
            "never_learnt": self.is_never_learnt,
        }[name]

    def rank_in(self, name: RowList) -> float:
        """Returns how far up in a list the row belongs; larger stands higher."""
        if name == "suspects":
            return self.suspicion
        return self.last - self.lowest if name == "forgotten" else self.last


def tell_stories(columns: LossColumns, is_cancelled: Callable[[], bool] = bool) -> list[RowStory]:
    """Returns the story of every document that was trained on, by its number.

    Rows are compared with those that were trained on at the same moment, because in the first
    epoch everything is hard at its beginning and little at its end. Stops early, with what it
    has, when cancelled.
    """
    count = len(columns.documents)
    short = _stand_out(columns.shortfalls[:count])
    high = _stand_out(columns.losses[:count])
    looks: dict[int, list[int]] = {}
    for place, document in enumerate(columns.documents):
        looks.setdefault(document, []).append(place)
    stories = []
    for number, document in enumerate(sorted(looks)):
        if number % 4096 == 0 and is_cancelled():
            break
        stories.append(_tell(document, looks[document], columns, short, high))
    return stories


def pick(stories: Sequence[RowStory], name: RowList, most: int | None = None) -> list[RowStory]:
    """Returns the rows of a list, the most striking first, at most ``most`` of them."""
    found = [one for one in stories if one.is_in(name)]
    if most is None:
        return sorted(found, key=lambda one: one.rank_in(name), reverse=True)
    return heapq.nlargest(most, found, key=lambda one: one.rank_in(name))


def count_forgotten(losses: Sequence[float], shortfalls: Sequence[float]) -> int:
    """Returns how often a row was learnt and lost again.

    Learnt: its loss fell by a quarter, or the model would have written it word for word. Lost:
    later the loss has risen by half of what it had fallen, and noticeably.
    """
    high = low = losses[0]
    is_learnt = shortfalls[0] == 0
    count = 0
    for loss, shortfall in zip(losses[1:], shortfalls[1:], strict=True):
        rise = max(_NOTICEABLE, _ROSE * (high - low))
        if is_learnt and shortfall > 0 and loss - low >= rise:
            count += 1
            high = low = loss
            is_learnt = False
            continue
        low = min(low, loss)
        fell = loss <= _FELL * high and high - loss >= _NOTICEABLE
        is_learnt = is_learnt or fell or shortfall == 0
    return count


def _tell(
    document: int,
    looks: Sequence[int],
    columns: LossColumns,
    short: array[float],
    high: array[float],
) -> RowStory:
    losses = tuple(columns.losses[place] for place in looks)
    shortfalls = [columns.shortfalls[place] for place in looks]
    last = looks[-1]
    suspicion = sum(short[place] for place in looks) / len(looks)
    was_seen_again = len(looks) > 1
    is_wrong = was_seen_again and shortfalls[-1] > 0
    return RowStory(
        document=document,
        losses=losses,
        shortfall=shortfalls[-1],
        suspicion=suspicion,
        forgotten=count_forgotten(losses, shortfalls),
        is_never_learnt=(
            is_wrong and min(losses[1:]) >= _HARDLY_FELL * losses[0] and high[last] >= 1
        ),
        is_suspect=is_wrong and suspicion >= OUTLIER and short[last] >= _STILL_OUT,
    )


def _stand_out(values: Sequence[float]) -> array[float]:
    """Returns how far each value lies above its neighbours in time, in robust deviations."""
    found = array("f")
    blocks = max(1, len(values) // _BLOCK)
    for block in range(blocks):
        part = values[block * len(values) // blocks : (block + 1) * len(values) // blocks]
        if not len(part):
            continue
        middle = _median(part)
        spread = _MAD_TO_DEVIATION * _median([abs(one - middle) for one in part])
        spread = max(spread, _LEAST_DEVIATION)
        found.extend((one - middle) / spread for one in part)
    return found


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
