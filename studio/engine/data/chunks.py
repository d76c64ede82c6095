"""Going through millions of rows piece by piece, so that numbers about all never lie in memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.engine.data.example import Flags
from studio.engine.data.file_rows import Rows

CHUNK_ROWS = 1 << 14
GROUP_ROWS = 1 << 17
"""About as many rows are compared with each other at once."""
_MOST_GROUP_BITS = 8


def iter_chunks(rows: Rows) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield consecutive rows and where they stand."""
    for start in range(0, len(rows), CHUNK_ROWS):
        where = slice(start, min(start + CHUNK_ROWS, len(rows)))
        yield where, rows[where]


def mark_rows(rows: Rows, test: Callable[[NDArray[Any]], Flags]) -> Flags:
    """Return what ``test`` says of all rows; it is asked piece by piece. Shape ``(rows,)``."""
    found = np.zeros(len(rows), dtype=np.bool_)
    for where, some in iter_chunks(rows):
        found[where] = test(some)
    return found


def read_column(
    rows: Rows, name: str, chosen: Flags | None = None, kind: Any = None
) -> NDArray[Any]:
    """Return one column of all or of the chosen rows; shape ``(rows,)``.

    ``kind`` is a smaller kind of number, if its values are known to fit it.
    """
    count = len(rows) if chosen is None else int(np.count_nonzero(chosen))
    found = np.empty(count, dtype=kind or rows.dtype[name])
    done = 0
    for where, some in iter_chunks(rows):
        values = some[name] if chosen is None else some[name][chosen[where]]
        found[done : done + len(values)] = values
        done += len(values)
    return found


def iter_groups(
    tables: Sequence[Rows],
    chosen: Sequence[Flags],
    lead: Callable[[NDArray[Any]], NDArray[np.uint8]],
    take: Callable[[NDArray[Any]], NDArray[Any]],
) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
    """Yield the chosen rows in groups, so that each is compared with those of its group alone.

    ``lead`` gives a number by which rows are grouped; from group to group it ascends. Yields the
    places of the rows among all rows of all tables, ascending, and what ``take`` says of them.
    Small data is one group.
    """
    total = sum(int(np.count_nonzero(one)) for one in chosen)
    bits = min(_MOST_GROUP_BITS, (total // GROUP_ROWS).bit_length())
    for group in range(1 << bits):
        places, values = [], []
        start = 0
        for rows, flags in zip(tables, chosen, strict=True):
            for where, some in iter_chunks(rows):
                mine = flags[where] & (lead(some) >> (8 - bits) == group)
                places.append(np.flatnonzero(mine) + (start + where.start))
                values.append(take(some)[mine])
            start += len(rows)
        if sum(map(len, places)):
            yield np.concatenate(places), np.concatenate(values)


def first_bytes(keys: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the first byte of keys of 16 bytes, in whose order they are sorted."""
    return np.ascontiguousarray(keys).view(np.uint8).reshape(-1, 16)[:, 0]


def list_places(flags: Flags) -> NDArray[Any]:
    """Return the places of the marked rows in the smallest kind of number; shape ``(marked,)``."""
    found = np.empty(int(np.count_nonzero(flags)), dtype=place_type(len(flags)))
    done = 0
    for where, some in iter_chunks(flags):
        places = np.flatnonzero(some)
        found[done : done + len(places)] = places + where.start
        done += len(places)
    return found


def join_arrays(parts: Sequence[NDArray[Any]], kind: Any = np.int32) -> NDArray[Any]:
    """Return the parts in one array; where only one has anything, that one, not a copy."""
    filled = [one for one in parts if len(one)]
    return filled[0] if len(filled) == 1 else np.concatenate([np.zeros(0, dtype=kind), *filled])


def repeat_numbers(numbers: NDArray[Any], counts: Sequence[int]) -> NDArray[Any]:
    """Return each number as often as its count says; one alone takes no memory for that."""
    if len(numbers) == 1:
        return np.broadcast_to(numbers, counts)
    return np.repeat(numbers, counts)


def place_type(rows: int) -> type[np.signedinteger[Any]]:
    """Return the smallest kind of number that counts so many rows."""
    return np.int32 if rows < 1 << 31 else np.int64


def trim_heap() -> None:
    """Give memory that is free in this process back to the system; only glibc keeps it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
