"""Which adapter each row of a batch has, and where layers find its matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Layout = tuple[tuple[str, int], ...]
"""Adapters in the order in which their ranks follow each other in a layer's tall matrices."""


class RowsLost(Exception):
    """A layer sees its input in a shape that no longer says which row of the batch it is from."""


@dataclass(frozen=True)
class RowChoice:
    """What one row of a batch is computed with; ``adapter`` None is the base alone.

    ``strength`` is multiplied with the adapter's update: 0 is the base, 1 the adapter as trained.
    """

    adapter: str | None = None
    strength: float = 1.0


@dataclass(frozen=True)
class Span:
    """The part of a layer's tall matrices that the batch needs, from ``start`` to ``stop``.

    ``mask`` is ``(rows, stop - start)`` and holds strengths; it is None where every row has the
    same adapter, whose strength is ``strength``.
    """

    start: int
    stop: int
    strength: float
    mask: Tensor | None


@dataclass(frozen=True)
class Run:
    """Rows that follow each other, each with the next adapter of a layer, all of one rank.

    Their matrices lie one after the other from ``start`` on in the layer's tall ones. ``strengths``
    is ``(rows, 1, 1)``; it is None where all rows have the same, ``strength``.
    """

    first_row: int
    rows: int
    start: int
    rank: int
    strength: float
    strengths: Tensor | None


@dataclass(frozen=True)
class _Place:
    row: int
    start: int
    rank: int
    strength: float

    def follows(self, other: _Place) -> bool:
        return (self.row - 1, self.start - self.rank, self.rank) == (
            other.row,
            other.start,
            other.rank,
        )


Spans = dict[tuple[Layout, torch.device, torch.dtype], "Span | None"]
_CHOICES_KEPT = 16


class Routing:
    """Which adapter each row of the batch has at this moment; shared by all layers of a model."""

    def __init__(self) -> None:
        self._choices: tuple[RowChoice, ...] = ()
        self._kept: dict[tuple[RowChoice, ...], Spans] = {}
        self._spans: Spans = {}

    @property
    def spans(self) -> Spans:
        """What layers need for the choices of now: the same object whenever these are the same."""
        return self._spans

    @property
    def choices(self) -> tuple[RowChoice, ...]:
        """One choice per row; empty means that every row is answered by the base."""
        return self._choices

    @property
    def is_uniform(self) -> bool:
        """Whether all rows are computed alike."""
        return len(set(self._choices)) <= 1

    def set(self, choices: Sequence[RowChoice]) -> None:
        """Replaces the choices of all rows."""
        self._choices = tuple(choices)
        if self._choices not in self._kept:
            if len(self._kept) >= _CHOICES_KEPT:
                self._kept.clear()
            self._kept[self._choices] = {}
        self._spans = self._kept[self._choices]

    def find_span(self, layout: Layout, like: Tensor) -> Span | None:
        """Returns the span for layers of this layout, on the device and in the dtype of ``like``.

        None means that no row needs anything of the layer.
        """
        key = (layout, like.device, like.dtype)
        if key not in self._spans:
            self._spans[key] = self._build_span(layout, like)
        return self._spans[key]

    def find_runs(self, layout: Layout, like: Tensor) -> tuple[Run, ...]:
        """Returns the runs in which layers of this layout find the rows' adapters."""
        places = _find_places(layout)
        found: list[list[_Place]] = []
        for row, choice in enumerate(self._choices):
            if choice.adapter not in places or not choice.strength:
                continue
            start, stop = places[choice.adapter]
            place = _Place(row, start, stop - start, choice.strength)
            if not found or not place.follows(found[-1][-1]):
                found.append([])
            found[-1].append(place)
        return tuple(_build_run(run, like) for run in found)

    def find_rows(self, adapter: str) -> list[int]:
        """Returns the rows that are computed with ``adapter``."""
        return [
            row
            for row, choice in enumerate(self._choices)
            if choice.adapter == adapter and choice.strength
        ]

    def _build_span(self, layout: Layout, like: Tensor) -> Span | None:
        places = _find_places(layout)
        used = [
            places[choice.adapter]
            for choice in self._choices
            if choice.adapter in places and choice.strength
        ]
        if not used:
            return None
        first, last = min(used)[0], max(used)[1]
        if self.is_uniform:
            return Span(first, last, self._choices[0].strength, None)
        mask = torch.zeros(len(self._choices), last - first)
        for row, choice in enumerate(self._choices):
            if choice.adapter in places:
                begin, end = places[choice.adapter]
                if first <= begin < last:
                    mask[row, begin - first : end - first] = choice.strength
        return Span(first, last, 1.0, mask.to(like))


def _find_places(layout: Layout) -> dict[str | None, tuple[int, int]]:
    """Returns where the ranks of each adapter begin and end in tall matrices of ``layout``."""
    places: dict[str | None, tuple[int, int]] = {}
    start = 0
    for name, rank in layout:
        places[name] = (start, start + rank)
        start += rank
    return places


def _build_run(places: Sequence[_Place], like: Tensor) -> Run:
    first, values = places[0], [place.strength for place in places]
    strengths = None if len(set(values)) == 1 else torch.tensor(values).to(like).view(-1, 1, 1)
    return Run(first.row, len(places), first.start, first.rank, first.strength, strengths)
