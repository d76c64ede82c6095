"""Tokenised examples, held in flat arrays so that a million rows stay small."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """One document as the model sees it.

    ``ids`` and ``supervised`` have the shape ``(tokens,)``; a True marks a token that the model
    learns to write. The first token of a document can never be predicted, whatever its flag says.
    ``truncated_tokens`` is how many tokens of the row were cut away. ``row`` counts from 1 in the
    file ``source``.
    """

    ids: Ids
    supervised: Flags
    truncated_tokens: int
    row: int
    source: str

    def __len__(self) -> int:
        return len(self.ids)


ORIGIN = np.dtype(
    [
        ("source", "<u2"),
        ("piece", "<u2"),
        ("index", "<u4"),
        ("number", "<u4"),
        ("line", "<u4"),
        ("mark", "S16"),
    ]
)
"""Where an example comes from, as ``studio.core.microscope.files`` reads it."""


def fill_origins(origins: NDArray[Any], chosen: Flags, rows: NDArray[Any]) -> None:
    """Write where the ``chosen`` origins stand, and what they say, from one of ``rows`` each."""
    origins["number"][chosen], origins["line"][chosen] = rows["number"], rows["line"]
    origins["mark"][chosen] = rows["key"]


class Examples(Sequence[Example], ABC):
    """Examples in the order of their rows, wherever their tokens come from.

    ``source_positions`` has the shape ``(examples,)``.
    """

    sources: tuple[str, ...]
    source_positions: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.source_positions)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...

    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._build(index % len(self))

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    @property
    @abstractmethod
    def at_once(self) -> int:
        """How many examples may be measured by one call without filling the memory."""

    @abstractmethod
    def measure(self, documents: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return those of the examples that can be trained, and the tokens of each of them."""

    @abstractmethod
    def iter_origins(self) -> Iterator[NDArray[Any]]:
        """Yield where the examples come from, piece by piece; shape ``(some,)`` of ``ORIGIN``."""

    @abstractmethod
    def _build(self, place: int) -> Example: ...


class ExampleStore(Examples):
    """Examples in flat arrays in memory; indexing builds a view without copying.

    ``lengths`` and ``source_positions`` have the shape ``(examples,)``; ``supervised_count`` is
    how many tokens have a target.
    """

    lengths: NDArray[np.integer[Any]]
    supervised_count: int

    def __init__(self, examples: Iterable[tuple[Example, int]], sources: Sequence[str]) -> None:
        """Store examples, each with the position of its file in ``sources``."""
        pairs = list(examples)
        self.sources = tuple(sources)
        self._ids = np.concatenate(
            [np.zeros(0, np.int32), *(one.ids for one, _ in pairs)], dtype=np.int32
        )
        self._supervised = np.concatenate(
            [np.zeros(0, np.bool_), *(one.supervised for one, _ in pairs)], dtype=np.bool_
        )
        self.lengths = np.array([len(one) for one, _ in pairs], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        self.supervised_count = sum(int(one.supervised[1:].sum()) for one, _ in pairs)
        self._truncated = np.array([one.truncated_tokens for one, _ in pairs], dtype=np.int64)
        self._rows = np.array([one.row for one, _ in pairs], dtype=np.int64)
        self.source_positions = np.array([position for _, position in pairs], dtype=np.uint16)

    @property
    def at_once(self) -> int:
        """All of them: they are there already."""
        return max(1, len(self))

    @property
    def largest_token(self) -> int:
        """The highest token number, -1 without any token."""
        return int(self._ids.max(initial=-1))

    def measure(self, documents: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the documents themselves and the tokens of each."""
        return list(documents), self.lengths[np.asarray(documents, dtype=np.int64)].tolist()

    def _build(self, place: int) -> Example:
        start, end = self._starts[place], self._starts[place + 1]
        return Example(
            ids=self._ids[start:end],
            supervised=self._supervised[start:end],
            truncated_tokens=int(self._truncated[place]),
            row=int(self._rows[place]),
            source=self.sources[self.source_positions[place]],
        )

    def iter_origins(self) -> Iterator[NDArray[Any]]:
        """Yield where the examples come from: all at once."""
        origins = np.zeros(len(self), dtype=ORIGIN)
        origins["source"], origins["number"] = self.source_positions, self._rows
        origins["index"] = np.maximum(self._rows, 1) - 1
        yield origins

    @property
    def token_count(self) -> int:
        """All tokens."""
        return int(self.lengths.sum(dtype=np.int64))
