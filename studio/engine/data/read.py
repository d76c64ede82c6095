"""From the sources of a recipe to records: rows read, layout found, limits kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path

from studio.core.errors import DatasetInvalid
from studio.core.hub.resolve import find_data_path
from studio.core.recipe.schema_data import DataSource
from studio.engine.data.columns import SAMPLE_ROWS, Layout, find_layout
from studio.engine.data.conversation import Record
from studio.engine.data.sources.registry import iter_rows
from studio.engine.data.sources.row import OnBroken, Reading, Row, refuse

KEPT_FAULTS = 5


@dataclass
class SkippedRows:
    """Counts the broken rows that were passed over; ``faults`` are the first few, in words."""

    count: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, error: DatasetInvalid) -> None:
        """Count one broken row."""
        self.count += 1
        if len(self.faults) < KEPT_FAULTS:
            self.faults.append(error.message)


@dataclass(frozen=True)
class OpenSource:
    """A data file whose layout is known; its rows can be read once.

    ``skipped`` grows while the rows are read.
    """

    path: Path
    layout: Layout
    rows: Iterator[Row]
    skipped: SkippedRows
    on_broken: OnBroken = refuse

    def iter_records(self) -> Iterator[tuple[Row, Record]]:
        """Yield every row with what it says.

        Raises:
            DatasetInvalid: A row is broken or has another layout; file and line are named.
        """
        for row in self.rows:
            try:
                record = self.layout.read(row)
            except DatasetInvalid as error:
                self.on_broken(error)
            else:
                yield row, record


def source_path(source: DataSource, base_folder: Path) -> Path:
    """Return the file or folder of a source; relative paths start at ``base_folder``.

    Raises:
        FileUnusable: The source names a data set of the hub that is not on this machine.
    """
    return find_data_path(source.source, base_folder, source.revision)


def open_source(source: DataSource, base_folder: Path, limit: int | None = None) -> OpenSource:
    """Return the data file with its layout, read no further than needed to find it.

    Args:
        source: The entry of the recipe.
        base_folder: Where relative paths start.
        limit: Read at most so many rows, besides the limit of the recipe.

    Raises:
        FileUnusable: The file is missing or may not be read.
        DatasetInvalid: Its first rows are broken or of no known format.
    """
    path = source_path(source, base_folder)
    limits = [one for one in (source.limit, limit) if one is not None]
    skipped = SkippedRows()
    on_broken = skipped.add if source.skip_broken else refuse
    rows = iter_rows(
        path,
        min(limits, default=None),
        split=source.split,
        reading=Reading(source.documents, on_broken),
    )
    first = list(islice(rows, SAMPLE_ROWS))
    if not first:
        raise DatasetInvalid(
            f"{path.name} holds no row that can be read. {' '.join(skipped.faults[:1])}",
            "Choose a file with examples.",
        )
    layout = replace(find_layout(first, source.format, source.columns), fill=source.fill)
    return OpenSource(path, layout, chain(first, rows), skipped, on_broken)
