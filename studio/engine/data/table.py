"""Tokenised rows in flat arrays, in memory or on disk, uncut and unmixed."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import DatasetInvalid
from studio.core.json_text import parse_json
from studio.engine.data.answers import Span
from studio.engine.data.chunks import iter_chunks, mark_rows, read_column
from studio.engine.data.digest import RowDigest
from studio.engine.data.example import Flags
from studio.engine.data.file_rows import FileRows, Rows
from studio.engine.data.problems import KINDS, PLACES_KEPT, leaves_row_out
from studio.engine.data.rows import EncodedRow
from studio.engine.data.sources.row import Row, place_of
from studio.engine.data.tokenize import Encoded

ROW = np.dtype(
    [
        ("start", "<i8"),  # of its tokens
        ("length", "<i4"),
        ("spans", "<i8"),  # of its spans: answers first, what is trained behind them
        ("answers", "<i4"),
        ("trained", "<i4"),
        ("head", "<i4"),
        ("bos", "<i2"),
        ("is_text", "?"),
        ("learnt", "<i4"),  # tokens with a target
        ("ending", "<i4"),  # the last token of the last answer; -1 without an answer
        ("part", "<i4"),  # which file of the source
        ("number", "<i8"),
        ("line", "<i8"),  # 0 where files have no lines
        ("characters", "<i8"),
        ("problems", "<u8"),  # one bit per code
        ("key", "S16"),
        ("prompt", "<u8"),
        ("answer", "<u8"),
    ]
)
TOLD_EVERY = 16
"""Megabytes that are read before others are asked whether to go on."""
_MOST_PLACES = 100
_FILES = {"ids": np.dtype("<i4"), "spans": np.dtype(("<i4", (2,))), "rows": ROW}
_ABOUT, _UNFINISHED = "about.json", "unfinished.json"


@dataclass
class TableAbout:
    """What is known about the rows as a whole.

    ``codes`` name the bits of problems; ``parts`` the files; ``details`` what a template said;
    ``largest`` is the highest token number; ``places`` has per name of an open or filled place the
    number of its rows and a few words around it.
    """

    format: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    template: str = ""
    codes: list[str] = field(default_factory=lambda: list(KINDS))
    parts: list[str] = field(default_factory=list)
    details: dict[str, str] = field(default_factory=dict)
    skipped: int = 0
    faults: list[str] = field(default_factory=list)
    sums: dict[str, list[int]] = field(default_factory=dict)
    largest: int = -1
    places: dict[str, tuple[int, str]] = field(default_factory=dict)

    def note_places(self, places: Iterable[tuple[str, str]]) -> None:
        """Count one row with these places; of very many names the first are kept."""
        for name, quote in places:
            rows, words = self.places.get(name, (0, ""))
            if rows or len(self.places) < _MOST_PLACES:
                self.places[name] = (rows + 1, words or quote)


@dataclass(frozen=True)
class RowTable:
    """The rows of one source.

    ``ids`` has the shape ``(tokens,)``, ``spans`` ``(spans, 2)``, ``rows`` ``(rows,)`` of ``ROW``.
    """

    ids: Rows
    spans: Rows
    rows: Rows
    about: TableAbout

    def __len__(self) -> int:
        return len(self.rows)

    def encoded(self, place: int) -> Encoded:
        """Return one row as it was tokenised."""
        row = self.rows[place]
        start, first = int(row["start"]), int(row["spans"])
        middle = first + int(row["answers"])
        return Encoded(
            ids=self.ids[start : start + int(row["length"])],
            trained=_pairs(self.spans[middle : middle + int(row["trained"])]),
            answers=_pairs(self.spans[first:middle]),
            head_tokens=int(row["head"]),
            bos_tokens=int(row["bos"]),
            problems=(),
        )

    def row(self, place: int) -> EncodedRow:
        """Return one row as it was before it was stored; its columns and its digest are not."""
        row = self.rows[place]
        bits = int(row["problems"])
        part = Path(self.about.parts[int(row["part"])])
        return EncodedRow(
            Row({}, part, int(row["number"]), int(row["line"]) or None),
            self.encoded(place) if row["length"] else None,
            RowDigest(bytes(row["key"])),
            bool(row["is_text"]),
            int(row["characters"]),
            tuple(code for index, code in enumerate(self.about.codes) if bits >> index & 1),
        )

    def place(self, index: int) -> str:
        """Return where a row stands, in words."""
        row = self.rows[index]
        part = Path(self.about.parts[int(row["part"])])
        return place_of(part, int(row["number"]), int(row["line"]) or None)

    def column(self, name: str) -> NDArray[Any]:
        """Return one column as an array of its own; shape ``(rows,)``."""
        return read_column(self.rows, name)

    def usable(self) -> Flags:
        """Return which rows are tokenised and not left out for a problem; shape ``(rows,)``."""
        codes = enumerate(self.about.codes)
        bits = np.uint64(sum(1 << index for index, code in codes if leaves_row_out(code)))
        return mark_rows(
            self.rows, lambda rows: (rows["length"] > 0) & (rows["problems"] & bits == 0)
        )

    def endings(self, chosen: Flags) -> set[int]:
        """Return the tokens with which the answers of the chosen rows end."""
        found: set[int] = set()
        for where, rows in iter_chunks(self.rows):
            found.update(np.unique(rows["ending"][chosen[where]]).tolist())
        return found - {-1}

    @classmethod
    def load(cls, folder: Path) -> Generator[int, None, RowTable | None]:
        """Return the rows saved in a folder, where they stay; None if they are not whole.

        Meanwhile yields 0, while what is on disk is compared with its sums.
        """
        found = {}
        try:
            about = TableAbout(**parse_json((folder / _ABOUT).read_text(encoding="utf-8")))
            for name, kind in _FILES.items():
                yield from _compare(folder / f"{name}.bin", *about.sums[name])
                found[name] = FileRows(folder / f"{name}.bin", kind)
        except (OSError, ValueError, TypeError, KeyError):
            return None  # made again from the data
        if not set(about.codes) <= set(KINDS):
            return None
        return cls(**found, about=about)

    @classmethod
    def load_written(cls, folder: Path) -> Generator[int, None, RowTable]:
        """Return the rows that were just written into a folder, where they stay.

        Meanwhile yields 0.

        Raises:
            DatasetInvalid: They do not read back as they were written.
        """
        table = yield from cls.load(folder)
        if table is None:
            raise DatasetInvalid(
                f"The prepared rows in {folder} do not read back as they were written.",
                "Check the disk of the program's folder, or choose another folder with --home.",
            )
        return table


class TableWriter:
    """Collects rows into three flat files, in a folder or in memory; ``rows`` counts them."""

    def __init__(self, folder: Path | None, mode: Literal["wb", "ab"] = "wb") -> None:
        self.about = TableAbout()
        self._folder = folder
        self._files: dict[str, BinaryIO] = {
            name: io.BytesIO() if folder is None else (folder / f"{name}.bin").open(mode)
            for name in _FILES
        }
        self._sums = {name: [0, 0] for name in _FILES}
        self.rows = 0
        self._tokens = self._spans = 0
        self._bits = {code: 1 << index for index, code in enumerate(self.about.codes)}
        self._parts: dict[Path, int] = {}

    @classmethod
    def resume(cls, folder: Path) -> Generator[int, None, TableWriter]:
        """Return what goes on where ``suspend`` ended; if that is not whole, begin anew.

        Meanwhile yields 0. The files whose rows are there already must be named to ``note_part``.
        """
        place = folder / _UNFINISHED
        try:
            known = parse_json(place.read_text(encoding="utf-8"))
            about = TableAbout(**known["about"])
            rows, tokens, spans = (int(known[name]) for name in ("rows", "tokens", "spans"))
            for name in _FILES:
                yield from _compare(folder / f"{name}.bin", *about.sums[name])
        except (OSError, ValueError, TypeError, KeyError):
            place.unlink(missing_ok=True)
            return cls(folder)
        place.unlink()
        writer = cls(folder, "ab")
        writer.about, writer.rows, writer._tokens, writer._spans = about, rows, tokens, spans
        writer._sums = about.sums
        return writer

    def suspend(self) -> None:
        """Close what is written so far, so that ``resume`` can go on with it."""
        if self._folder is None:
            return
        self.close()
        self.about.sums = self._sums
        known = {
            "about": asdict(self.about),
            "rows": self.rows,
            "tokens": self._tokens,
            "spans": self._spans,
        }
        (self._folder / _UNFINISHED).write_text(json.dumps(known), encoding="utf-8")

    @staticmethod
    def is_suspended(folder: Path) -> bool:
        """Return whether a folder holds rows that can be gone on with."""
        return (folder / _UNFINISHED).is_file()

    def note_part(self, path: Path) -> None:
        """Note a file that rows come from."""
        self._parts.setdefault(path, len(self._parts))

    def add(self, batch: Sequence[EncodedRow]) -> None:
        """Append rows."""
        spans: list[Span] = []
        rows = [self._row(one, spans) for one in batch]
        encoded = [one.encoded.ids for one in batch if one.encoded is not None]
        ids = np.concatenate([np.zeros(0, np.int32), *encoded], dtype=np.int32)
        self.about.largest = max(self.about.largest, int(ids.max(initial=-1)))
        self._write("ids", ids)
        self._write("spans", np.array(spans, dtype=np.int32).reshape(-1, 2))
        self._write("rows", np.array(rows, dtype=ROW))
        self.rows += len(rows)

    def finish(self) -> None:
        """Complete the rows; in a folder they are then on disk, not open."""
        self.about.parts = [path.name for path in self._parts]
        self.about.sums = self._sums
        if self._folder is not None:
            self.close()
            text = json.dumps(asdict(self.about), ensure_ascii=True)
            (self._folder / _ABOUT).write_text(text, encoding="utf-8")

    def build(self) -> RowTable:
        """Return the finished rows that are held in memory."""
        found = {
            name: np.frombuffer(stream.getbuffer(), _FILES[name])  # type: ignore[attr-defined]  # in memory all are BytesIO
            for name, stream in self._files.items()
        }
        return RowTable(**found, about=self.about)

    def close(self) -> None:
        """Close the files."""
        if self._folder is not None:
            for stream in self._files.values():
                stream.close()

    def _write(self, name: str, values: NDArray[Any]) -> None:
        raw = values.tobytes()
        self._files[name].write(raw)
        size, check = self._sums[name]
        self._sums[name] = [size + len(raw), zlib.crc32(raw, check)]

    def _row(self, one: EncodedRow, spans: list[Span]) -> tuple[Any, ...]:
        encoded = one.encoded
        if one.detail:
            for code in one.problems:
                self.about.details.setdefault(code, one.detail)
        if one.places:
            self.about.note_places(one.places)
        length = 0 if encoded is None else len(encoded.ids)
        answers = () if encoded is None else encoded.answers
        trained = () if encoded is None else encoded.trained
        row = (
            self._tokens,
            length,
            self._spans,
            len(answers),
            len(trained),
            0 if encoded is None else encoded.head_tokens,
            0 if encoded is None else encoded.bos_tokens,
            one.is_text,
            count_learnt(trained),
            int(encoded.ids[answers[-1][1] - 1]) if encoded is not None and answers else -1,
            self._parts.setdefault(one.row.path, len(self._parts)),
            one.row.number,
            one.row.line or 0,
            one.characters,
            sum(self._bits[code] for code in one.problems),
            one.digest.key,
            one.digest.prompt,
            one.digest.answer,
        )
        spans.extend(answers)
        spans.extend(trained)
        self._tokens += length
        self._spans += len(answers) + len(trained)
        return row


def count_learnt(trained: Iterable[Span]) -> int:
    """Return how many tokens have a target: trained and not the first of their document."""
    return sum(max(0, behind - max(first, 1)) for first, behind in trained)


def problem_places(
    table: RowTable, chosen: Flags | None = None
) -> Mapping[str, tuple[int, list[str]]]:
    """Return per code how many rows have the problem, and the first few places."""
    found: dict[str, tuple[int, list[str]]] = {}
    for where, rows in iter_chunks(table.rows):
        problems = rows["problems"] if chosen is None else rows["problems"] * chosen[where]
        every = int(np.bitwise_or.reduce(problems))
        for index, code in enumerate(table.about.codes):
            if not every >> index & 1:
                continue
            hits = np.flatnonzero(problems & np.uint64(1 << index)) + where.start
            count, places = found.get(code, (0, []))
            more = [table.place(int(one)) for one in hits[: PLACES_KEPT - len(places)]]
            found[code] = count + len(hits), places + more
    return {code: found[code] for code in table.about.codes if code in found}


def _pairs(spans: NDArray[np.int32]) -> tuple[Span, ...]:
    return tuple((first, behind) for first, behind in spans.tolist())


def _compare(path: Path, size: int, check: int) -> Generator[int, None, None]:
    """Compare the bytes of a file with their sum; meanwhile yield 0.

    Raises:
        ValueError: They are not what was written.
    """
    if path.stat().st_size != size:
        raise ValueError(f"{path} has another size")
    found = 0
    with path.open("rb") as stream:
        for count, block in enumerate(iter(partial(stream.read, 1 << 20), b""), start=1):
            found = zlib.crc32(block, found)
            if count % TOLD_EVERY == 0:
                yield 0
    if found != check:
        raise ValueError(f"{path} is damaged")
