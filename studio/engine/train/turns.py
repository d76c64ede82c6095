"""Finds while training how many tokens to compute at once: the first steps take turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from studio.engine.data.example import ExampleStore
from studio.engine.data.loader import longest_documents
from studio.engine.train.remembered import Remembered, name_device
from studio.engine.train.resolve import Resolved

_SMALLEST_TOKENS = 512
"""Below it products get too small to be fast on any processor."""
_TURNS = 2
_WARM_STEPS = 1
_WORTH_IT = 1.03


def choose_smallest(rates: Mapping[int, float]) -> int:
    """Returns the smallest size that is at most 3 % slower than the fastest.

    ``rates`` are the tokens per second of each size.
    """
    best = max(rates.values())
    return min(size for size, rate in rates.items() if rate * _WORTH_IT >= best)


def list_sizes(longest: int, most: int) -> tuple[int, ...]:
    """Returns the sizes to try, each twice the one before, the last one ``most``.

    None is smaller than ``longest``, the longest example.
    """
    sizes = [min(most, max(longest, _SMALLEST_TOKENS))]
    while 2 * sizes[-1] <= most:
        sizes.append(2 * sizes[-1])
    return tuple(sizes) if sizes[-1] == most else (*sizes, most)


class TokenTurns:
    """Tries sizes in turns, one in each step, for what is learnt does not depend on them.

    The first step only warms up. What is found is kept in ``kept`` for the next run.
    """

    def __init__(self, sizes: Iterable[int], kept: Remembered) -> None:
        self._sizes = tuple(sizes)
        self._kept = kept
        self._rates: dict[int, float] = {}
        self._done = -_WARM_STEPS

    @property
    def now(self) -> int:
        """The size of the next step; the largest one while warming up."""
        return self._sizes[self._done % len(self._sizes)]

    @property
    def is_over(self) -> bool:
        """Whether every size had its turns."""
        return self._done >= _TURNS * len(self._sizes)

    def note(self, tokens: int, seconds: float) -> None:
        """Notes what the step with the size ``now`` took."""
        if self._done >= 0:
            # Other programs only ever slow a step down: the faster turn is nearer to the truth.
            rate = tokens / max(seconds, 1e-9)
            self._rates[self.now] = max(rate, self._rates.get(self.now, 0.0))
        self._done += 1

    def choose(self) -> tuple[int, str]:
        """Returns the smallest size that loses nothing, kept from now on, and why, in words."""
        tokens = choose_smallest(self._rates)
        self._kept.keep(tokens)
        share = self._rates[tokens] / max(self._rates.values())
        tried = ", ".join(f"{size:,}" for size in self._sizes)
        return tokens, f"the first steps took turns with {tried}: {share:.0%} of the best speed"


def plan_turns(
    rows: ExampleStore,
    rule: Resolved,
    device: torch.device,
    batch_sequences: int,
    cache_folder: Path | None,
    *words: object,
) -> tuple[Resolved, TokenTurns | None]:
    """Returns the tokens at once to begin with, and the turns that find better ones, if any.

    Never more than ``rule``, the rule of thumb, so what was foreseen of the memory holds.
    ``words`` name everything that the speed depends on besides the device and the rows.
    """
    lengths = rows.lengths[longest_documents(rows, batch_sequences)]
    longest = int(lengths.max())
    most = max(longest, min(int(rule.value), int(lengths.sum())))
    kept = Remembered(cache_folder, "tokens", name_device(device), longest, most, *words)
    known = kept.find()
    if known is not None:
        return Resolved(known, "measured on this computer before"), None
    sizes = list_sizes(longest, most)
    return rule, TokenTurns(sizes, kept) if len(sizes) > 1 else None
