"""How long the rows of the training data are, as far as a forecast has to know."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from studio.core.memory.packing import pack

_KEPT_LENGTHS = 4096


@dataclass(frozen=True)
class RowLengths:
    """Lengths of the training rows in tokens.

    ``lengths`` are sorted from the longest down; of many rows an even selection that holds the
    longest. ``supervised_fraction`` is the share of tokens that is trained. ``is_guess`` says that
    nobody has counted: the lengths come from the size of the text. ``is_assumed`` says that there
    was no text either: every row is taken to be as long as allowed.
    """

    lengths: tuple[int, ...]
    rows: int
    mean_tokens: float
    supervised_fraction: float = 1.0
    is_guess: bool = False
    is_assumed: bool = False

    @classmethod
    def of(
        cls, lengths: Iterable[int], supervised_fraction: float = 1.0, *, is_guess: bool = False
    ) -> RowLengths:
        """Return the description of rows of these lengths; there must be at least one."""
        ordered = sorted((max(1, int(length)) for length in lengths), reverse=True)
        every = -(-len(ordered) // _KEPT_LENGTHS)
        mean = sum(ordered) / len(ordered)
        kept = tuple(ordered[::every])
        return cls(kept, len(ordered), mean, supervised_fraction, is_guess)

    @property
    def longest(self) -> int:
        """The tokens of the longest row."""
        return self.lengths[0]

    def get_percentile(self, percent: float) -> int:
        """Return the length that ``percent`` of the rows do not exceed."""
        last = len(self.lengths) - 1
        return self.lengths[min(last, math.floor((100 - percent) / 100 * len(self.lengths)))]

    def cut(self, most_tokens: int) -> RowLengths:
        """Return the rows as they are after longer ones were shortened."""
        if self.longest <= most_tokens:
            return self
        lengths = tuple(min(length, most_tokens) for length in self.lengths)
        before, after = sum(self.lengths), sum(lengths)
        return RowLengths(
            lengths,
            self.rows,
            self.mean_tokens * after / before,
            self.supervised_fraction,
            self.is_guess,
            self.is_assumed,
        )

    def fill_micro_batch(
        self, micro_batch_tokens: int, batch_sequences: int, *, packs: bool
    ) -> tuple[int, ...]:
        """Return the lengths of the documents in the micro-batch that needs the most memory.

        Of the longest rows that one step could have together, packed as training packs them, that
        is the fullest; a row longer than the bound stands alone. Unpacked rows are filled up to the
        length of the longest.
        """
        if not packs:
            count = max(1, min(batch_sequences, micro_batch_tokens // self.longest))
            return (self.longest,) * count
        every = max(1, self.rows // len(self.lengths))
        count = min(batch_sequences, every * len(self.lengths))
        longest = [self.lengths[index // every] for index in range(count)]
        groups = (
            tuple(longest[place] for place in group) for group in pack(longest, micro_batch_tokens)
        )
        return max(groups, key=lambda group: (sum(group), group))


def assume_rows(longest: int, *, rows: int = 1000) -> RowLengths:
    """Return rows that are all as long as allowed: what is planned for where data is unknown."""
    return RowLengths(
        (longest,) * min(rows, 64), rows, float(longest), 1.0, is_guess=True, is_assumed=True
    )
