"""Following one run: its journal folded into a record and curves, with a saved fold on disk."""

from __future__ import annotations

import json
import logging
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.core.errors import FileUnusable
from studio.core.events.tail import EventTail
from studio.core.events.types import Event
from studio.core.files import write_atomically
from studio.core.json_text import parse_json
from studio.core.runs.fold import FOLD_VERSION, fold
from studio.core.runs.layout import RunLayout
from studio.core.runs.record import RunRecord
from studio.core.runs.series import RunSeries

_LOG = logging.getLogger(__name__)
_PROBE_BYTES = 4096
_SMALLEST_STEP_BYTES = 4 << 20
_GROWTH = 4  # a new snapshot after a quarter more journal: writing stays in proportion to reading
_LIST_BYTES = 64 << 10  # folding more at each look at the list would be felt


@dataclass(frozen=True)
class RunSnapshot:
    """A fold of the first ``offset`` bytes of a journal; ``series`` is None when not asked for."""

    record: RunRecord
    series: RunSeries | None
    offset: int
    skipped: int

    def save(self, layout: RunLayout) -> None:
        """Writes the snapshot of the run: one line with the record, one with the curves.

        Raises:
            FileUnusable: The run's folder is not writable.
        """
        head = {
            "version": FOLD_VERSION,
            "byteorder": sys.byteorder,
            "offset": self.offset,
            "skipped": self.skipped,
            "probe": _probe(layout.events, self.offset),
            # Twice JSON, because pydantic alone knows how to write its own infinite numbers.
            "record": self.record.model_dump_json(),
        }
        curves = {} if self.series is None else self.series.dump()
        write_atomically(layout.snapshot, f"{json.dumps(head)}\n{json.dumps(curves)}\n")


def load_snapshot(layout: RunLayout, *, has_series: bool = True) -> RunSnapshot | None:
    """Returns the saved fold of a run, or None if there is none that fits journal and version.

    Without ``has_series`` only the first line of the file is read.
    """
    try:
        with layout.snapshot.open("rb") as stream:
            head = parse_json(stream.readline())
            if head["version"] != FOLD_VERSION or head["byteorder"] != sys.byteorder:
                return None
            if head["probe"] != _probe(layout.events, head["offset"]):
                return None
            record = RunRecord.model_validate_json(head["record"])
            series = RunSeries.parse(parse_json(stream.readline())) if has_series else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # Only a cache: whatever is wrong with it, the journal says the same again.
        _LOG.info("the snapshot %s is ignored: %s", layout.snapshot, error)
        return None
    return RunSnapshot(record, series, head["offset"], head["skipped"])


class RunJournal:
    """Folds a run's journal as it grows; whoever reads a run holds one of these.

    ``start`` gives the fields that no event states (id, name, folder). Opening takes the saved
    fold if it fits; reading saves another one when the journal has grown by enough.
    """

    def __init__(self, layout: RunLayout, start: RunRecord) -> None:
        self.layout = layout
        snapshot = load_snapshot(layout)
        if snapshot is None or snapshot.series is None:
            snapshot = RunSnapshot(start, RunSeries(), 0, 0)
        self.record = _take_names(snapshot.record, start)
        self.series = snapshot.series or RunSeries()
        self._tail = EventTail(layout.events, snapshot.offset)
        self._skipped_before = snapshot.skipped
        self._saved_offset = snapshot.offset

    @property
    def offset(self) -> int:
        """Bytes of the journal that are folded."""
        return self._tail.offset

    @property
    def skipped(self) -> int:
        """Lines that were broken or of a type unknown to this version."""
        return self._skipped_before + self._tail.skipped

    def read(self, max_bytes: int = 1 << 20) -> list[Event]:
        """Folds what was appended, at most about ``max_bytes``; returns the new events.

        Never waits. More may be there when ``offset`` has moved.

        Raises:
            FileUnusable: The journal exists and cannot be read.
        """
        events = self._tail.read(max_bytes)
        for event in events:
            self.record = fold(self.record, event)
            self.series.add(event)
        if self.offset - self._saved_offset >= self._due_bytes:
            self.save_snapshot()
        return events

    def iter_all(self, max_bytes: int = 1 << 20) -> Iterator[list[Event]]:
        """Folds until nothing new is there.

        Yields:
            The events of each part, so that a reader can tell how far it is.
        """
        before = -1
        while before != self.offset:
            before = self.offset
            yield self.read(max_bytes)

    def read_all(self) -> None:
        """Folds everything that is in the journal now."""
        for _ in self.iter_all():
            pass

    def save_snapshot(self) -> None:
        """Saves the fold so far, unless the run's folder does not allow it."""
        self._saved_offset = self.offset
        try:
            RunSnapshot(self.record, self.series, self.offset, self.skipped).save(self.layout)
        except FileUnusable as error:
            # Only a cache: a full disk or a read-only folder must not keep anybody from reading.
            _LOG.info("no snapshot of %s: %s", self.layout.folder, error)

    @property
    def _due_bytes(self) -> int:
        return max(_SMALLEST_STEP_BYTES, self._saved_offset // _GROWTH)


def load_record(layout: RunLayout, start: RunRecord) -> RunRecord:
    """Returns the record of a run as its journal says, the cheapest way (for lists).

    A long journal without a snapshot is folded once in full and its fold is saved.

    Raises:
        FileUnusable: The journal exists and cannot be read.
    """
    snapshot = load_snapshot(layout, has_series=False)
    record, offset = (start, 0) if snapshot is None else (snapshot.record, snapshot.offset)
    if _get_size(layout.events) - offset > _LIST_BYTES:
        journal = RunJournal(layout, start)
        journal.read_all()
        journal.save_snapshot()
        return journal.record
    record = _take_names(record, start)
    tail = EventTail(layout.events, offset)
    before = -1
    while before != tail.offset:
        before = tail.offset
        for event in tail.read():
            record = fold(record, event)
    return record


def _take_names(record: RunRecord, start: RunRecord) -> RunRecord:
    """Returns the record with what may have changed since the snapshot: renamed, moved."""
    return record.model_copy(
        update={
            "id": start.id,
            "name": start.name,
            "folder": start.folder,
            "created_seconds": start.created_seconds,
        }
    )


def _get_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _probe(path: Path, offset: int) -> int:
    """Returns a checksum of the journal's bytes before ``offset``.

    Raises:
        ValueError: The journal is shorter, or no line ends there: the offset is not its own.
    """
    if offset == 0:
        return 0
    start = max(0, offset - _PROBE_BYTES)
    with path.open("rb") as stream:
        stream.seek(start)
        content = stream.read(offset - start)
    if len(content) != offset - start or not content.endswith(b"\n"):
        raise ValueError(f"no line of {path} ends at byte {offset}")
    return zlib.crc32(content)
