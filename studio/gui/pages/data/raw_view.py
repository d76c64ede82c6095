"""Reads the first rows of the draft's files beside the GUI thread and shows them as written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject

from studio.core.errors import StudioError
from studio.core.events.types import Event, RowsPeeked
from studio.core.jobs.orders import PeekOrder
from studio.core.runs.record import RunRecord
from studio.core.units import format_bytes
from studio.gui.bridge.background import Background, BackgroundCall, Cancellation
from studio.gui.bridge.live_job import LiveJob
from studio.gui.bridge.raw_rows import (
    CHILD_ONLY,
    RawRows,
    build_peeked,
    count_lines,
    load_shown_rows,
)
from studio.gui.bridge.run_feed import RunFeed
from studio.gui.pages.data.files_card import FilesCard
from studio.gui.pages.data.tabs import RAW, DataTabs

_TEXT_SUFFIXES = (".txt", ".text", ".md", ".markdown")


@dataclass(frozen=True)
class _Wanted:
    """What of a source decides which rows are shown."""

    source: str
    split: str
    revision: str | None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> _Wanted:
        return cls(str(entry["source"]), str(entry.get("split", "train")), entry.get("revision"))


class RawView(QObject):
    """Between the files, the pool of threads and the table of rows."""

    def __init__(
        self,
        background: Background,
        feed: RunFeed,
        files: FilesCard,
        tabs: DataTabs,
        base_folder: Path,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._base_folder = base_folder
        self._background = background
        self._feed = feed
        self._job: LiveJob | None = None
        self._files = files
        self._tabs = tabs
        self._shown = 0
        self._calls: list[BackgroundCall] = []
        self._read: list[_Wanted] = []
        self._counts: dict[int, tuple[str, bool]] = {}
        self._parts: dict[int, tuple[Path, bool]] = {}

    def show_files(self, sources: Sequence[Mapping[str, Any]]) -> None:
        """Reads files that are not the same as before, and shows the rows of one of them.

        It is the first one that was added, else the first of all.
        """
        read = [_Wanted.of(source) for source in sources]
        if read != self._read:
            known = len(self._read)
            self._shown = known if read[:known] == self._read and known < len(read) else 0
            self._read = read
            self._load()
            return
        for place, (words, is_broken) in self._counts.items():
            self._files.show_row_count(place, words, is_broken=is_broken)

    def choose(self, place: int) -> None:
        """Shows the rows of another file."""
        self._shown = place
        self._tabs.setCurrentIndex(RAW)
        self._load()

    def _load(self) -> None:
        self._counts.clear()
        self._parts.clear()
        for call in self._calls:
            call.cancel()
        self._calls = [
            self._background.start(
                partial(_read_rows, wanted.source),
                partial(self._on_rows_loaded, place),
                partial(self._on_rows_failed, place),
            )
            for place, wanted in enumerate(self._read)
        ]

    def _on_rows_loaded(self, place: int, raw: RawRows) -> None:
        if raw.part is not None:
            self._parts[place] = raw.part, raw.parts > 1
        if raw.row_count is None:
            self._show_count(place, format_bytes(raw.size_bytes))
        else:
            self._on_rows_counted(place, raw.row_count)
        if place == self._shown:
            self._tabs.show_rows(raw)
        if raw.uncounted is not None:
            # A long file is counted only after its beginning is shown.
            self._calls.append(
                self._background.start(
                    partial(_count_rows, raw.uncounted),
                    partial(self._on_rows_counted, place),
                    partial(self._on_rows_failed, place),
                )
            )

    def _on_rows_counted(self, place: int, count: int) -> None:
        part, has_more = self._parts.get(place, (Path(self._read[place].source), False))
        word = "line" if part.name.lower().endswith(_TEXT_SUFFIXES) else "row"
        first = "first file: " if has_more else ""
        self._show_count(place, f"{first}{count:,} {word}{'s' * (count != 1)}")

    def _on_rows_failed(self, place: int, error: StudioError) -> None:
        if error.code == CHILD_ONLY:
            self._show_count(place, "packed")
            if place == self._shown:
                self._peek(place)
            return
        self._show_count(place, "cannot be read", is_broken=True)
        if place == self._shown:
            self._tabs.show_raw_error(error)

    def _show_count(self, place: int, words: str, *, is_broken: bool = False) -> None:
        """Shows how many rows a file has, also after its line is drawn anew."""
        self._counts[place] = (words, is_broken)
        self._files.show_row_count(place, words, is_broken=is_broken)

    def _peek(self, place: int) -> None:
        """Lets a child read the first rows of a file that needs more than text to be read."""
        wanted = self._read[place]
        self._tabs.show_raw_waiting(Path(wanted.source).name)
        job = self._feed.start_job(
            PeekOrder(
                source=wanted.source,
                revision=wanted.revision,
                split=wanted.split,
                base_folder=str(self._base_folder),
            )
        )
        self._job = job
        job.events_arrived.connect(partial(self._on_peeked, place, wanted))
        job.ended.connect(partial(self._on_peek_ended, place, wanted))
        job.launch_failed.connect(partial(self._on_peek_failed, place, wanted))

    def _on_peeked(self, place: int, wanted: _Wanted, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, RowsPeeked) and self._is_wanted(place, wanted):
                self._on_rows_loaded(place, build_peeked(event))

    def _on_peek_ended(self, place: int, wanted: _Wanted, record: RunRecord) -> None:
        failure = record.failure
        if failure is not None:
            error = StudioError(failure.message, failure.remedy, code=failure.code)
            self._on_peek_failed(place, wanted, error)

    def _on_peek_failed(self, place: int, wanted: _Wanted, error: StudioError) -> None:
        if self._is_wanted(place, wanted):
            self._on_rows_failed(place, error)

    def _is_wanted(self, place: int, wanted: _Wanted) -> bool:
        return place < len(self._read) and self._read[place] == wanted


def _read_rows(path: str, _cancellation: Cancellation) -> RawRows:
    return load_shown_rows(path)


def _count_rows(path: Path, cancellation: Cancellation) -> int | None:
    return count_lines(path, lambda: cancellation.is_set)
