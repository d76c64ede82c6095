"""Reads the first rows of the draft's files beside the GUI thread and shows them as written."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QObject

from studio.core.errors import StudioError
from studio.core.units import format_bytes
from studio.gui.bridge.background import Background, BackgroundCall, Cancellation
from studio.gui.bridge.raw_rows import SURVEY_ONLY, RawRows, find_shown_file, load_raw_rows
from studio.gui.pages.data.files_card import FilesCard
from studio.gui.pages.data.tabs import RAW, DataTabs


class RawView(QObject):
    """Between the files, the pool of threads and the table of rows."""

    def __init__(
        self,
        background: Background,
        files: FilesCard,
        tabs: DataTabs,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._background = background
        self._files = files
        self._tabs = tabs
        self._shown = 0
        self._calls: list[BackgroundCall] = []
        self._read: list[str] = []

    def show_files(self, sources: Sequence[str]) -> None:
        """Reads files that are not the same as before, and shows the rows of the first one."""
        if list(sources) != self._read:
            self._read = list(sources)
            self._shown = 0
            self._load()

    def choose(self, place: int) -> None:
        """Shows the rows of another file."""
        self._shown = place
        self._tabs.setCurrentIndex(RAW)
        self._load()

    def _load(self) -> None:
        for call in self._calls:
            call.cancel()
        self._calls = [
            self._background.start(
                partial(_read_rows, path),
                partial(self._on_rows_loaded, place),
                partial(self._on_rows_failed, place),
            )
            for place, path in enumerate(self._read)
        ]

    def _on_rows_loaded(self, place: int, raw: RawRows) -> None:
        rows = "rows" if raw.row_count != 1 else "row"
        known = raw.row_count is not None
        words = f"{raw.row_count:,} {rows}" if known else format_bytes(raw.size_bytes)
        self._files.show_row_count(place, words)
        if place == self._shown:
            self._tabs.show_rows(raw)

    def _on_rows_failed(self, place: int, error: StudioError) -> None:
        is_known = error.code == SURVEY_ONLY
        words = "see X-ray" if is_known else "cannot be read"
        self._files.show_row_count(place, words, is_broken=not is_known)
        if place == self._shown:
            self._tabs.show_raw_error(error)


def _read_rows(path: str, cancellation: Cancellation) -> RawRows:
    return load_raw_rows(find_shown_file(path), is_cancelled=lambda: cancellation.is_set)
