"""Examples whose rows are tokenised when a step needs them, until all of them are prepared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.chunks import CHUNK_ROWS, repeat_numbers
from studio.engine.data.example import ORIGIN, Example, Examples, Flags, fill_origins
from studio.engine.data.marked import MarkedRows
from studio.engine.data.rows import EncodedRow, RowEncoder
from studio.engine.data.scan import RowFacts
from studio.engine.data.spool import RowSpool
from studio.engine.data.table import RowTable

_AT_ONCE = 4096


class StreamedSource:
    """The rows of one source: put by on disk, and later in a table.

    What a row becomes does not depend on where it comes from, so it never matters to a run when
    the table is ready. ``table`` is None until then.
    """

    def __init__(
        self,
        name: str,
        facts: RowFacts,
        encoder: RowEncoder,
        *,
        spool: RowSpool | None = None,
        table: RowTable | None = None,
    ) -> None:
        """Take the rows from ``table`` or, where there is none yet, from ``spool``."""
        self.name = name
        self.facts = facts
        self.table = table
        self._spool = spool
        self._encoder = encoder

    def __len__(self) -> int:
        return len(self.facts.rows)

    def encode(self, rows: Sequence[int]) -> list[EncodedRow]:
        """Return these rows in tokens, uncut, in the order given."""
        if self.table is not None:
            return [self.table.row(one) for one in rows]
        if self._spool is None:
            raise LookupError("neither put by nor prepared")
        records = map(self._spool.read, rows)
        return [one for batch in self._encoder.iter_encoded(records) for one in batch]

    def close(self) -> None:
        """Close the rows that were put by."""
        if self._spool is not None:
            self._spool.close()


class StreamedExamples(Examples):
    """One example per chosen row of at most ``max_tokens`` tokens.

    Which rows can be trained is not known before they are tokenised: ``measure`` leaves out those
    that cannot, and keeps the examples of its last call for those who ask next.
    """

    def __init__(
        self, rows: Sequence[StreamedSource], chosen: Sequence[Flags], max_tokens: int
    ) -> None:
        """Take the rows that ``chosen`` marks, one array per source."""
        self.sources = tuple(one.name for one in rows)
        self._rows = rows
        self._max_tokens = max_tokens
        self._marked = [MarkedRows(one) for one in chosen]
        counts = [len(one) for one in self._marked]
        self._starts = np.cumsum([0, *counts])
        self.source_positions = repeat_numbers(np.arange(len(counts), dtype=np.uint16), counts)
        self._held: dict[int, Example | None] = {}

    @property
    def at_once(self) -> int:
        """As many as may be tokenised and held in memory together."""
        return _AT_ONCE

    def measure(self, documents: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return those of the examples that can be trained, and the tokens of each of them."""
        self._hold(documents)
        found = [(one, self._held[one]) for one in documents]
        usable = [(one, len(example)) for one, example in found if example is not None]
        return [one for one, _ in usable], [length for _, length in usable]

    def iter_origins(self) -> Iterator[NDArray[Any]]:
        """Yield where the examples come from, some at a time, in the order of the examples."""
        for start in range(0, len(self), CHUNK_ROWS):
            sources = self.source_positions[start : start + CHUNK_ROWS]
            origins = np.zeros(len(sources), dtype=ORIGIN)
            origins["source"] = sources
            for source in np.unique(sources).tolist():
                mine = sources == source
                first = max(0, start - int(self._starts[source]))
                numbers = self._marked[source][first : first + int(np.count_nonzero(mine))]
                origins["index"][mine] = numbers
                fill_origins(origins, mine, self._rows[source].facts.rows.take(numbers))
            yield origins

    def _hold(self, documents: Sequence[int]) -> None:
        self._held = {one: self._held[one] for one in documents if one in self._held}
        missing = np.array([one for one in dict.fromkeys(documents) if one not in self._held])
        if not len(missing):
            return
        sources = self.source_positions[missing]
        for source in np.unique(sources).tolist():
            wanted = missing[sources == source]
            marked, start = self._marked[source], int(self._starts[source])
            rows = self._rows[source].encode([marked[one - start] for one in wanted.tolist()])
            for document, row in zip(wanted.tolist(), rows, strict=True):
                self._held[document] = build_example(row, self.sources[source], self._max_tokens)

    def _build(self, place: int) -> Example:
        if place not in self._held:
            self._hold([place])
        found = self._held[place]
        if found is None:
            raise LookupError(f"example {place} cannot be trained")
        return found


def build_example(row: EncodedRow, source: str, max_tokens: int) -> Example | None:
    """Return the example that a chat becomes; None where it cannot be trained."""
    pieces, _ = row.fit(max_tokens)
    if not pieces or row.encoded is None:
        return None
    ids, supervised = pieces[0].take(row.encoded)
    return Example(ids, supervised, pieces[0].truncated_tokens, row.row.number, source)
