"""What a sample of rows tells about all of them: the limit, the memory, and whether to wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studio.core.recipe.schema_data import DataSettings
from studio.engine.data.chunks import place_type
from studio.engine.data.example import ExampleStore
from studio.engine.data.prepare import choose_max_tokens
from studio.engine.data.problems import KINDS
from studio.engine.data.rows import EncodedRow
from studio.engine.data.streamed import build_example

SAMPLE_ROWS = 2048
"""Rows that are tokenised before training starts."""
FEWEST_ROWS = 4 * SAMPLE_ROWS
"""Fewer rows are prepared as a whole."""
MOST_UNTRAINABLE = 0.01
"""Share of the sample above which rows that fall out would leave notable holes in the steps."""


@dataclass(frozen=True)
class StreamPlan:
    """What was concluded from a sample.

    ``longest`` is the length that memory must be made for; ``sample`` holds the examples that
    were looked at, ``truncated`` how many of them were cut.
    """

    max_tokens: int
    longest: int
    sample: ExampleStore
    truncated: int


def choose_sample(rows: int) -> NDArray[np.int64]:
    """Return which of so many rows are looked at, ascending; the same in every run."""
    # RandomState is frozen by NumPy: its numbers stay the same in every version. This is what its
    # ``choice`` without replacement does, in half of the memory.
    every = np.arange(rows, dtype=place_type(rows))
    np.random.RandomState(rows % (1 << 32)).shuffle(every)
    return np.sort(every[:SAMPLE_ROWS]).astype(np.int64)


def judge(
    settings: DataSettings,
    rows: Sequence[EncodedRow],
    names: Sequence[str],
    model_context: int | None,
) -> StreamPlan | None:
    """Return the plan; None where all rows must be known first.

    That is so where a problem refuses the run, or many rows cannot be trained. ``names`` has the
    source of each row.
    """
    if any(KINDS[code].refuses for row in rows for code in row.problems):
        return None
    lengths = np.array([len(row.encoded.ids) for row in rows if row.encoded], dtype=np.int64)
    max_tokens = choose_max_tokens(settings.max_tokens, lengths, model_context)
    sources = list(dict.fromkeys(names))
    examples = [
        (example, sources.index(name))
        for row, name in zip(rows, names, strict=True)
        if (example := build_example(row, name, max_tokens)) is not None
    ]
    if len(rows) - len(examples) > MOST_UNTRAINABLE * len(rows):
        return None
    sample = ExampleStore(examples, sources)
    truncated = sum(example.truncated_tokens > 0 for example, _ in examples)
    # Rows outside the sample may be longer than all in it, but never longer than the limit.
    longest = min(max_tokens, 2 * int(sample.lengths.max()))
    return StreamPlan(max_tokens, longest, sample, truncated)
