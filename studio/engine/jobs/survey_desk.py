"""One look through the data of a recipe: what each file is and what was found in its rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.core.errors import StudioError
from studio.core.events.survey import OpenPlace
from studio.core.events.types import (
    DataProblemFound,
    DataSurveyed,
    Event,
    LimitsMeasured,
    SurveyProgressed,
)
from studio.core.jobs.orders import SurveyOrder
from studio.core.recipe.schema_data import DataSettings, DataSource
from studio.engine.data.columns import SAMPLE_ROWS
from studio.engine.data.encode_source import SourceReader
from studio.engine.data.lengths import measure_lengths
from studio.engine.data.limits import measure_limits
from studio.engine.data.read import open_source
from studio.engine.data.row_lists import SourceTable
from studio.engine.data.rows import RowEncoder
from studio.engine.data.survey import Survey
from studio.engine.data.table import RowTable, TableWriter
from studio.engine.jobs.row_desk import RowDesk, SurveyBase
from studio.engine.jobs.survey_first import FirstLook, LookedSource
from studio.engine.models.capabilities import get_context_tokens, read_stop_ids
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.reference import find_model


def load_base(order: SurveyOrder, cache_folder: Path | None) -> SurveyBase:
    """Return the base model's tokenizer and what else rows are judged by.

    Raises:
        StudioError: The model's tokenizer cannot be read.
    """
    base_folder = Path(order.base_folder)
    folder = find_model(order.base, base_folder, order.revision).folder
    config = load_config(folder)
    return SurveyBase(
        tokenizer=load_tokenizer(folder),
        context=get_context_tokens(config),
        stop_ids=read_stop_ids(folder, config),
        base_folder=base_folder,
        cache_folder=cache_folder,
    )


class Look:
    """One look; ``iter_events`` does the work piece by piece, ``rows`` answers meanwhile."""

    def __init__(
        self, base: SurveyBase, settings: DataSettings, request: int, first: FirstLook
    ) -> None:
        """Prepare for one data part of a recipe and the files in which rows were found.

        Raises:
            FileUnusable: The template file is missing or broken.
        """
        self._base = base
        self._settings = settings
        self._request = request
        self._first = first
        self._encoder = RowEncoder(settings, base.tokenizer, base.base_folder, base.stop_ids)
        self._rows: RowDesk | None = None

    def iter_events(self) -> Iterator[Event]:
        """Yield what is found in a sample of each source, then in all rows."""
        usable, is_whole = self._first.sources, self._first.is_whole
        tables = [(one, self._read_sample(one.source)) for one in usable]
        yield from self._tell(tables, is_sample=not is_whole)
        if not is_whole:
            whole: list[tuple[LookedSource, RowTable]] = []
            for one in usable:
                before = sum(len(table) for _, table in whole)
                table = yield from self._read_whole(one, before)
                whole += [] if table is None else [(one, table)]
            yield from self._tell(whole, is_sample=False)

    @property
    def rows(self) -> RowDesk | None:
        """Answers about single rows, None before anything was looked at."""
        return self._rows

    def _read_sample(self, source: DataSource) -> RowTable:
        writer = TableWriter(None)
        agreed = source.model_copy(update={"skip_broken": True})
        opened = open_source(agreed, self._base.base_folder, SAMPLE_ROWS)
        for batch in self._encoder.iter_encoded(opened.iter_records()):
            writer.add(batch)
        writer.about.skipped = opened.skipped.count
        writer.about.faults = list(opened.skipped.faults)
        writer.finish()
        return writer.build()

    def _read_whole(
        self, one: LookedSource, before: int
    ) -> Generator[Event, None, RowTable | None]:
        """Return all rows of a source; broken ones are passed over if it cannot be read without.

        Read exactly as training reads it where that is possible, so that both share the cache.
        """
        for source in (one.source, one.source.model_copy(update={"skip_broken": True})):
            base = self._base
            reader = SourceReader(
                self._settings, base.tokenizer, base.base_folder, base.stop_ids, base.cache_folder
            )
            steps = reader.read(source)
            try:
                with closing(steps):
                    while True:
                        yield SurveyProgressed(request=self._request, rows=before + next(steps))
            except StopIteration as end:
                table: RowTable = end.value
                return table
            except StudioError as error:
                failure = error
        yield self._problem_of(one, failure)
        return None

    def _problem_of(self, one: LookedSource, error: StudioError) -> DataProblemFound:
        return DataProblemFound(
            code="unreadable",
            message=error.message,
            remedy=error.remedy,
            is_fatal=True,
            source=one.position,
            request=self._request,
        )

    def _tell(
        self, tables: Sequence[tuple[LookedSource, RowTable]], *, is_sample: bool
    ) -> Iterator[Event]:
        train = [SourceTable(one.position, table) for one, table in tables if one.side == "train"]
        others = [SourceTable(one.position, table) for one, table in tables if one.side != "train"]
        if not train:
            return
        base = self._base
        survey = Survey(self._settings, train, others, self._encoder, base.context)
        self._rows = RowDesk(base, self._settings, survey, self._encoder)
        yield self._surveyed(survey, tuple(_iter_places(tables)), is_sample=is_sample)
        for one, table in tables:
            yield from self._broken(one, table)
        for problem in survey.problems:
            yield DataProblemFound(
                code=problem.code,
                message=problem.message,
                remedy=problem.remedy,
                rows=problem.count,
                is_fatal=problem.refuses,
                places=problem.places,
                detail=problem.detail,
                is_listed=survey.is_listed(problem.code),
                request=self._request,
            )
        yield self._limits(survey)

    def _broken(self, one: LookedSource, table: RowTable) -> Iterator[DataProblemFound]:
        count = table.about.skipped
        if not count:
            return
        name = Path(one.source.source).name
        rows = "1 row" if count == 1 else f"{count:,} rows"
        is_agreed = one.source.skip_broken
        verb = "is" if count == 1 else "are"
        told = f"and {verb} left out, as you agreed" if is_agreed else "so the run would not start"
        yield DataProblemFound(
            code="broken_rows",
            message=f"{rows} of {name} cannot be read, {told}.",
            remedy="Correct them in the file to learn from them too."
            if is_agreed
            else "Correct them in the file, or leave them out.",
            rows=count,
            is_fatal=not is_agreed,
            places=tuple(table.about.faults),
            source=one.position if one.side == "train" else None,
            request=self._request,
        )

    def _surveyed(
        self, survey: Survey, places: tuple[OpenPlace, ...], *, is_sample: bool
    ) -> DataSurveyed:
        template = self._encoder.template
        return DataSurveyed(
            request=self._request,
            is_sample=is_sample,
            rows=len(survey),
            train_rows=survey.train_examples,
            validation_rows=survey.validation_examples,
            left_out_rows=int(survey.left_out.sum()),
            tokens=survey.kept_tokens,
            supervised_tokens=survey.learnt_tokens,
            template=template.name,
            template_source=_own_source(self._base.tokenizer, template),
            is_own_template=template.name == "the model's own template",
            findings=survey.count_findings("train"),
            validation_findings=survey.count_findings("validation"),
            places=places,
        )

    def _limits(self, survey: Survey) -> LimitsMeasured:
        tables = [one.table for one in survey.train]
        bounds = np.cumsum([len(table) for table in tables])[:-1]
        chosen = [
            table.usable() & ~out
            for table, out in zip(tables, np.split(survey.left_out, bounds), strict=True)
        ]
        lengths = np.concatenate(
            [table.column("length")[one] for table, one in zip(tables, chosen, strict=True)]
        )
        learnt = sum(
            int(table.column("learnt")[one].sum(dtype=np.int64))
            for table, one in zip(tables, chosen, strict=True)
        )
        costs = measure_limits(tables, chosen, (survey.max_tokens, survey.auto_tokens))
        shown = lengths[lengths <= _find_right_edge(lengths, survey.max_tokens)]
        found = measure_lengths(shown, survey.max_tokens)
        return LimitsMeasured(
            request=self._request,
            limits=costs.limits,
            cut_rows_fraction=costs.cut_rows,
            lost_rows_fraction=costs.lost_rows,
            lost_supervised_fraction=costs.lost_supervised,
            kept_tokens_fraction=costs.kept_tokens,
            edges=found.edges,
            rows=found.rows,
            hidden_rows=len(lengths) - len(shown),
            max_tokens=survey.max_tokens,
            auto_tokens=survey.auto_tokens,
            longest_tokens=int(lengths.max()) if len(lengths) else 0,
            context_tokens=self._base.context,
            counted_rows=len(lengths),
            counted_tokens=int(lengths.sum()),
            supervised_fraction=min(1.0, learnt / max(1, int(lengths.sum()))),
        )


def _iter_places(tables: Sequence[tuple[LookedSource, RowTable]]) -> Iterator[OpenPlace]:
    for one, table in tables:
        for name, (rows, quote) in table.about.places.items():
            yield OpenPlace(name=name, files=one.side, source=one.position, rows=rows, quote=quote)


def _find_right_edge(lengths: NDArray[np.integer[Any]], limit: int) -> int:
    """Return where a histogram ends, so that a few huge rows do not press the rest into a bar."""
    if not len(lengths):
        return 0
    usual = int(np.quantile(lengths, 0.995, method="higher"))
    return max(2 * usual, min(2 * limit, int(lengths.max())))


def _own_source(tokenizer: Any, template: Any) -> str:
    if template.source:
        return str(template.source)
    try:
        return str(tokenizer.get_chat_template(None, None))
    except (ValueError, AttributeError):
        return ""
