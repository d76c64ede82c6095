"""From examples to the tensors of one micro-batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from studio.engine.data.example import Example

IGNORED = -100
"""Target of a token that is not trained; what PyTorch's cross-entropy ignores."""


@dataclass(frozen=True)
class MicroBatch:
    """Documents that are computed together.

    Packed: all tensors have the shape ``(1, tokens)``; documents stand one after the other,
    ``bounds`` are their ``(start, end)``, positions restart in each, ``attention_mask`` is None.
    Padded: shape ``(rows, longest)``, filler on the right, ``bounds`` is None and
    ``attention_mask`` is 1 for real tokens.

    ``targets[…, i]`` is the token to predict from position i: the next token of the same document
    if it is supervised, else ``IGNORED``. All tensors are int64. ``tokens`` counts real tokens,
    ``supervised_tokens`` targets that are trained, ``rows`` documents. ``learnt_tokens`` has the
    targets of each document, in their order; ``documents`` are their positions in the store.
    """

    ids: torch.Tensor
    position_ids: torch.Tensor
    targets: torch.Tensor
    bounds: tuple[tuple[int, int], ...] | None
    attention_mask: torch.Tensor | None
    supervised_tokens: int
    rows: int
    tokens: int
    learnt_tokens: tuple[int, ...] = ()
    documents: tuple[int, ...] = ()


def collate_packed(examples: Sequence[Example]) -> MicroBatch:
    """Return the documents in one row without any filler; shape ``(1, tokens)``."""
    lengths = [len(one) for one in examples]
    ends = np.cumsum(lengths)
    wanted = [next_tokens(one) for one in examples]
    targets = np.concatenate(wanted)
    return MicroBatch(
        ids=_row(np.concatenate([one.ids for one in examples])),
        position_ids=_row(np.concatenate([np.arange(length) for length in lengths])),
        targets=_row(targets),
        bounds=tuple(
            (int(end) - length, int(end)) for end, length in zip(ends, lengths, strict=True)
        ),
        attention_mask=None,
        supervised_tokens=int((targets != IGNORED).sum()),
        rows=len(examples),
        tokens=sum(lengths),
        learnt_tokens=tuple(int(np.count_nonzero(one != IGNORED)) for one in wanted),
    )


def collate_padded(examples: Sequence[Example], pad_id: int = 0) -> MicroBatch:
    """Return the documents in rows of equal length; shape ``(rows, longest)``.

    The mask does not depend on ``pad_id``, so any token may fill, even the end of sequence.
    """
    shape = (len(examples), max(len(one) for one in examples))
    ids = np.full(shape, pad_id, dtype=np.int64)
    targets = np.full(shape, IGNORED, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for row, one in enumerate(examples):
        ids[row, : len(one)] = one.ids
        targets[row, : len(one)] = next_tokens(one)
        mask[row, : len(one)] = 1
    positions = np.broadcast_to(np.arange(shape[1]), shape) * mask
    return MicroBatch(
        ids=torch.from_numpy(ids),
        position_ids=torch.from_numpy(positions),
        targets=torch.from_numpy(targets),
        bounds=None,
        attention_mask=torch.from_numpy(mask),
        supervised_tokens=int((targets != IGNORED).sum()),
        rows=len(examples),
        tokens=int(mask.sum()),
        learnt_tokens=tuple(np.count_nonzero(targets != IGNORED, axis=1).tolist()),
    )


def next_tokens(example: Example) -> NDArray[np.int64]:
    """Return the target of every position of one document; shape ``(tokens,)``."""
    targets = np.full(len(example), IGNORED, dtype=np.int64)
    targets[:-1] = np.where(example.supervised[1:], example.ids[1:], IGNORED)
    return targets


def _row(values: NDArray[np.int32] | NDArray[np.int64]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.int64))[None]
