"""The beginning of a look: what each file seems to be, told before a model library is loaded."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from studio.core.events.survey import FoundColumn, LayoutOption
from studio.core.events.types import SourceExamined
from studio.core.recipe.schema_data import DataSettings, DataSource
from studio.engine.data.columns import SAMPLE_ROWS
from studio.engine.data.examine import Examined, examine


@dataclass(frozen=True)
class LookedSource:
    """A file of a look, and its place among the training or the validation files."""

    position: int
    side: Literal["train", "validation"]
    source: DataSource


@dataclass(frozen=True)
class FirstLook:
    """The files that can be read, and whether their first rows are all that they hold."""

    sources: tuple[LookedSource, ...]
    is_whole: bool


def iter_first(
    settings: DataSettings, base_folder: Path, request: int
) -> Generator[SourceExamined, None, FirstLook]:
    """Yield what each file seems to be; return the files whose rows can be used."""
    usable = []
    is_whole = True
    for one in _iter_sources(settings):
        found = examine(one.source, base_folder)
        yield _state(one, found, request)
        if found.layout is not None:
            usable.append(one)
            is_whole = is_whole and len(found.rows) < SAMPLE_ROWS
    return FirstLook(tuple(usable), is_whole)


def _iter_sources(settings: DataSettings) -> Iterator[LookedSource]:
    yield from _number("train", settings.train)
    if isinstance(settings.validation, tuple):
        yield from _number("validation", settings.validation)


def _number(
    side: Literal["train", "validation"], sources: Sequence[DataSource]
) -> Iterator[LookedSource]:
    for position, source in enumerate(sources):
        if source.enabled:
            yield LookedSource(position, side, source)


def _state(one: LookedSource, found: Examined, request: int) -> SourceExamined:
    layout, error = found.layout, found.error
    return SourceExamined(
        request=request,
        position=one.position,
        side=one.side,
        source=one.source.source,
        format="" if layout is None else layout.format.key,
        columns={} if layout is None else dict(layout.columns),
        certainty=found.certainty,
        why=found.why,
        found_columns=tuple(FoundColumn(**asdict(column)) for column in found.columns),
        options=tuple(
            LayoutOption(**{**asdict(way), "columns": dict(way.columns)}) for way in found.options
        ),
        seems=found.seems,
        message="" if error is None else error.message,
        remedy="" if error is None else error.remedy,
    )
