"""One row for people: every token, what becomes of it, who wrote it, and the row as written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.core.recipe.schema_data import DataSettings, DataSource
from studio.engine.data.bands import Band, find_bands
from studio.engine.data.columns import Layout
from studio.engine.data.conversation import Record
from studio.engine.data.preview import token_texts
from studio.engine.data.read import open_source, source_path
from studio.engine.data.rows import RowEncoder
from studio.engine.data.sources.registry import find_files
from studio.engine.data.sources.row import Row
from studio.engine.data.turns import RowInvalid

MOST_TOKENS = 16_384
_AROUND_CUT = 400
_LONGEST_WRITTEN = 20_000
_LINE_SUFFIXES = (".jsonl", ".ndjson")
_BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class RowView:
    """``ids``, ``texts`` and ``fates`` have equal lengths; see the event RowShown."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    fates: str
    special: tuple[int, ...]
    bands: tuple[Band, ...]
    hidden_at: int
    hidden_tokens: int
    pieces: int
    problems: tuple[str, ...]
    detail: str
    is_left_out: bool
    mark: str
    written: str


def view_row(
    row: Row,
    record: Record,
    encoder: RowEncoder,
    settings: DataSettings,
    tokenizer: Any,
    max_tokens: int,
) -> RowView:
    """Return a row with every token of it, those that are cut away included.

    Of very long rows the middle is left out.
    """
    one = next(iter(encoder.iter_encoded([(row, record)])))[0]
    pieces, codes = one.fit(max_tokens, settings.overlap_tokens)
    encoded = one.encoded
    count = 0 if encoded is None else len(encoded.ids)
    fates = np.full(count, "r")
    bands: tuple[Band, ...] = ()
    if encoded is not None:
        fates[encoded.supervised] = "l"
        fates[:1] = "r"  # nothing stands before it from which it could be predicted
        bands = find_bands(encoder, settings, record, encoded)
    if not pieces:
        fates[:] = "x"
    elif len(pieces) == 1:
        fates[pieces[0].cut[0] : pieces[0].cut[1]] = "x"
    shown = choose_shown(fates)
    ids = [] if encoded is None else encoded.ids[shown].tolist()
    gap = int(np.flatnonzero(np.diff(shown) > 1)[0]) + 1 if len(shown) < count else 0
    gap = gap or (len(shown) if len(shown) < count else 0)
    marks = set(tokenizer.all_special_ids) | encoder.ending_ids
    texts = [*token_texts(tokenizer, ids[:gap]), *token_texts(tokenizer, ids[gap:])]
    return RowView(
        ids=tuple(ids),
        texts=tuple(texts),
        fates="".join(fates[shown].tolist()),
        special=tuple(place for place, number in enumerate(ids) if number in marks),
        bands=tuple(_move_bands(bands, shown, fates)),
        hidden_at=gap,
        hidden_tokens=count - len(shown),
        pieces=max(1, len(pieces)),
        problems=(*one.problems, *codes),
        detail=one.detail,
        is_left_out=not pieces,
        mark=one.digest.key.hex(),
        written=write_row(row),
    )


def choose_shown(fates: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return which tokens of a row are shown: all, or all but one stretch in the middle."""
    count = len(fates)
    if count <= MOST_TOKENS:
        return np.arange(count)
    cut = np.flatnonzero(fates == "x")
    first, behind = MOST_TOKENS // 2, count - MOST_TOKENS // 2
    if 2 * _AROUND_CUT < len(cut) < count:  # what is kept matters more than what is cut
        first, behind = int(cut[0]) + _AROUND_CUT, int(cut[-1]) + 1 - _AROUND_CUT
        behind = max(behind, count - MOST_TOKENS + min(first, MOST_TOKENS // 2))
        first = min(first, MOST_TOKENS // 2)
    return np.concatenate([np.arange(first), np.arange(behind, count)])


def _move_bands(
    bands: Sequence[Band], shown: NDArray[np.int64], fates: NDArray[np.str_]
) -> list[Band]:
    moved = []
    for band in bands:
        first, behind = np.searchsorted(shown, [band.first, band.behind]).tolist()
        if behind <= first:
            continue
        is_cut = bool((fates[band.first : band.behind] == "x").all())
        moved.append(Band(first, behind, band.role, band.turn, "cut" if is_cut else band.reason))
    return moved


def write_row(row: Row) -> str:
    """Return a row as JSON for people, shortened."""
    text = json.dumps(dict(row.values), ensure_ascii=False, indent=2, default=str)
    return text if len(text) <= _LONGEST_WRITTEN else f"{text[:_LONGEST_WRITTEN]} …"


class RowFinder:
    """Reads single rows of one source again; going forward costs nothing twice."""

    def __init__(self, source: DataSource, base_folder: Path) -> None:
        self._source = source.model_copy(update={"skip_broken": True})
        self._base_folder = base_folder
        self._opened = open_source(self._source, base_folder)
        self._rows = self._opened.iter_records()
        self._next = 0
        self._last: tuple[int, tuple[Row, Record]] | None = None

    @property
    def layout(self) -> Layout:
        """The format of the source and which column plays which part."""
        return self._opened.layout

    def find(self, index: int, number: int, line: int | None) -> tuple[Row, Record] | None:
        """Return the row at ``index`` (from 0) of the rows that can be read, None if it is gone.

        ``number`` and ``line`` say where it stands, which makes files of lines fast.
        """
        if self._last is not None and self._last[0] == index:
            return self._last[1]
        found = self._find_line(number, line) or self._find_in_order(index)
        if found is not None:
            self._last = (index, found)
        return found

    def _find_in_order(self, index: int) -> tuple[Row, Record] | None:
        if index < self._next:
            self._opened = open_source(self._source, self._base_folder)
            self._rows, self._next = self._opened.iter_records(), 0
        found = next(islice(self._rows, index - self._next, None), None)
        self._next = index + 1
        return found

    def _find_line(self, number: int, line: int | None) -> tuple[Row, Record] | None:
        path = source_path(self._source, self._base_folder)
        if line is None or path.suffix.lower() not in _LINE_SUFFIXES or not path.is_file():
            return None
        if find_files(path, self._source.split) != [path]:
            return None
        try:
            values = json.loads(_read_line(path, line))
            row = Row(values, path, number, line)
            return row, self._opened.layout.read_values(values)
        except (ValueError, TypeError, AttributeError, RowInvalid, RecursionError):
            return None  # the slow way says what is wrong


def _read_line(path: Path, line: int) -> bytes:
    """Return line number ``line`` (from 1) of a file."""
    before = line - 1
    with path.open("rb") as stream:
        while before:
            block = stream.read(_BLOCK_BYTES)
            if not block:
                return b""
            found = block.count(b"\n")
            if found < before:
                before -= found
                continue
            at = -1
            for _ in range(before):
                at = block.index(b"\n", at + 1)
            stream.seek(at + 1 - len(block), 1)
            before = 0
        return stream.readline()
