"""The rows of one run with all that is known of them: read, counted, and written as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.files import write_atomically
from studio.core.jobs.row_orders import RowPlace
from studio.core.microscope.files import LossColumns, RowOrigin, RowOrigins, read_origins
from studio.core.microscope.stories import LISTS, RowList, RowStory, pick, tell_stories
from studio.core.recipe.load import load_recipe
from studio.core.runs.layout import RowFiles, RunLayout

_COLUMNS = (
    "file", "row", "line", "piece", "seen", "first_loss", "last_loss", "lowest_loss", "shortfall",
    "suspicion", "suspect", "forgotten", "never_learnt", "losses", "mark",
)  # fmt: skip


@dataclass(frozen=True)
class RowReport:
    """Every row of a run that was trained on.

    ``sources`` are the files as the recipe names them; ``origins`` tell where a document of
    ``stories`` comes from. ``counts`` has the length of each list.
    """

    sources: tuple[str, ...] = ()
    origins: RowOrigins = field(default_factory=lambda: RowOrigins(b""))
    stories: tuple[RowStory, ...] = ()
    counts: dict[RowList, int] = field(default_factory=dict)

    def pick(self, name: RowList, most: int | None = None) -> list[RowStory]:
        """Returns the rows of a list, the most striking first."""
        return pick(self.stories, name, most)

    def find_origin(self, story: RowStory) -> RowOrigin | None:
        """Returns where a row comes from; None where the run did not say."""
        known = story.document < len(self.origins)
        return self.origins[story.document] if known else None

    def name_source(self, origin: RowOrigin) -> str:
        """Returns the file of a row as the recipe names it."""
        known = origin.source < len(self.sources)
        return self.sources[origin.source] if known else f"file {origin.source + 1}"


class ReportReader:
    """Reads the files of one run again and again while it goes on, each byte once."""

    def __init__(self, folder: Path) -> None:
        self._layout = RunLayout(folder)
        self._columns = LossColumns()
        self._report: RowReport | None = None

    def read(self, is_cancelled: Callable[[], bool] = bool) -> RowReport:
        """Returns the newest report; the same object as before where nothing is new.

        Raises:
            FileUnusable: A file cannot be read or is something else.
        """
        has_more = self._columns.read_more(RowFiles(self._layout.folder).losses)
        if self._report is not None and not has_more:
            return self._report
        stories = tell_stories(self._columns, is_cancelled)
        report = RowReport(
            sources=_read_sources(self._layout),
            origins=read_origins(RowFiles(self._layout.folder).origins),
            stories=tuple(stories),
            counts={name: sum(one.is_in(name) for one in stories) for name in LISTS},
        )
        if not is_cancelled():
            self._report = report
        return report


def list_places(report: RowReport, stories: Iterable[RowStory]) -> tuple[RowPlace, ...]:
    """Returns where rows stand, those of one file in its order, so that it is read only once."""
    places = []
    for one in stories:
        origin = report.find_origin(one)
        if origin is not None:
            places.append(
                RowPlace(
                    document=one.document,
                    source=origin.source,
                    index=origin.index,
                    number=origin.number,
                    line=origin.line,
                    mark=origin.mark,
                )
            )
    return tuple(sorted(places, key=lambda place: (place.source, place.index)))


def save_csv(report: RowReport, stories: Iterable[RowStory], path: Path) -> None:
    """Writes rows as a table for other programs; losses are separated by blanks.

    Raises:
        FileUnusable: The place cannot be written to.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    writer.writerows(_iter_lines(report, stories))
    write_atomically(path, text.getvalue())


def _iter_lines(report: RowReport, stories: Iterable[RowStory]) -> Iterator[tuple[object, ...]]:
    for one in stories:
        origin = report.find_origin(one)
        place: tuple[object, ...] = ("", "", "", "")
        if origin is not None:
            place = (report.name_source(origin), origin.number, origin.line or "", origin.piece + 1)
        yield (
            *place,
            len(one.losses),
            *(f"{number:.4f}" for number in (one.first, one.last, one.lowest, one.shortfall)),
            f"{one.suspicion:.2f}",
            int(one.is_suspect),
            one.forgotten,
            int(one.is_never_learnt),
            " ".join(f"{loss:.4f}" for loss in one.losses),
            origin.mark if origin is not None else "",
        )


def _read_sources(layout: RunLayout) -> tuple[str, ...]:
    try:
        return tuple(one.source for one in load_recipe(layout.recipe).data.active_train)
    except StudioError:
        return ()  # the rows are told by their numbers then
