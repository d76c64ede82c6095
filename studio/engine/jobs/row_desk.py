"""What is asked about single rows of surveyed data: to show, to try, to correct."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from studio.core.errors import DatasetInvalid, StudioError
from studio.core.events.survey import FileSide, RowBand
from studio.core.events.types import (
    CopyProgressed,
    CopySaved,
    Event,
    RowOpened,
    RowShown,
    RowTried,
    TemplateTried,
)
from studio.core.jobs.orders import OpenRow, SaveCopy, ShowRow, TryRow, TryTemplate
from studio.core.recipe.schema_data import DataSettings, DataSource
from studio.engine.data.columns import Layout
from studio.engine.data.conversation import Record
from studio.engine.data.corrected_copy import (
    MOST_CHARACTERS,
    iter_copy,
    read_fields,
    write_fields,
)
from studio.engine.data.row_lists import RowLists
from studio.engine.data.row_view import RowFinder, RowView, view_row
from studio.engine.data.rows import RowEncoder
from studio.engine.data.sandbox import compile_template
from studio.engine.data.sources.row import Row
from studio.engine.data.survey import Survey
from studio.engine.data.template import JinjaTemplate
from studio.engine.data.turns import RowInvalid


@dataclass(frozen=True)
class SurveyBase:
    """What stays the same from look to look: the tokenizer and what the model says of itself."""

    tokenizer: Any
    context: int | None
    stop_ids: tuple[int, ...]
    base_folder: Path
    cache_folder: Path | None


class RowDesk:
    """Answers about the rows of one survey."""

    def __init__(
        self, base: SurveyBase, settings: DataSettings, survey: Survey, encoder: RowEncoder
    ) -> None:
        self._base = base
        self._settings = settings
        self._survey = survey
        self._encoder = encoder
        self._finders: dict[tuple[FileSide, int], RowFinder] = {}

    def answer(self, wish: ShowRow | TryTemplate | OpenRow | TryRow) -> Event:
        """Return the event that answers a wish.

        Raises:
            StudioError: The file can no longer be read, or the row cannot be corrected here.
        """
        if isinstance(wish, ShowRow):
            return self._show_row(wish)
        if isinstance(wish, TryTemplate):
            return self._try_template(wish)
        return self._open_row(wish) if isinstance(wish, OpenRow) else self._try_row(wish)

    def iter_copy(self, wish: SaveCopy) -> Iterator[Event]:
        """Write a corrected copy and tell how far it is.

        Raises:
            StudioError: The copy cannot be written; nothing of it remains.
        """
        source = self._get_source(wish.files, wish.source)
        changes = {index: read_fields(text) for index, text in wish.changes.items()}
        steps = iter_copy(source, self._base.base_folder, changes, Path(wish.path))
        while True:
            try:
                yield CopyProgressed(request=wish.request, rows=next(steps))
            except StopIteration as end:
                done = end.value
                yield CopySaved(
                    request=wish.request,
                    path=wish.path,
                    rows=done.rows,
                    changed_rows=done.changed_rows,
                    skipped_rows=done.skipped_rows,
                )
                return

    def _show_row(self, wish: ShowRow) -> RowShown:
        survey, side = self._survey, wish.side
        rows, among = survey.choose_lists(side)
        if side == "any" and wish.finding and wish.finding not in rows.findings:
            side = "validation"  # a finding in validation files of their own
            rows, among = survey.choose_lists(side)
        places = rows.list_rows(wish.finding, wish.by, among)
        if not len(places):
            return RowShown(
                request=wish.request, rank=0, count=0, source=0, row=0, place="",
                side="validation" if side == "validation" else "train",
            )  # fmt: skip
        rank = min(max(0, wish.rank), len(places) - 1)
        if wish.row is not None:
            place = rows.find_place(wish.source, wish.row) or 0
            # The row itself, or in the order of the files the next one that is in the list.
            is_hit = places >= place if wish.by == "file" else places == place
            rank = int(is_hit.argmax()) if is_hit.any() else rank
        place = int(places[rank])
        shown = self._build(rows, place, self._encoder, wish.request)
        if side == "any" and wish.row is None:
            # Its place in the list of its own side, so that one can walk on from there.
            places = rows.list_rows(wish.finding, wish.by, survey.choose_lists(shown.side)[1])
            rank = int(np.flatnonzero(places == place)[0])
        return shown.model_copy(update={"rank": rank, "count": len(places)})

    def _try_template(self, wish: TryTemplate) -> TemplateTried:
        place = self._survey.rows.find_place(wish.source, wish.row)
        try:
            compile_template(wish.text)
        except jinja2.TemplateError as error:
            line = getattr(error, "lineno", 0) or 0
            return TemplateTried(request=wish.request, message=str(error), line=line)
        if place is None:
            return TemplateTried(request=wish.request)
        base = self._base
        encoder = RowEncoder(self._settings, base.tokenizer, base.base_folder, base.stop_ids)
        stops = [base.tokenizer.convert_ids_to_tokens(number) for number in base.stop_ids]
        encoder.template = JinjaTemplate(base.tokenizer, wish.text, "the edited template", stops)
        try:
            row = self._build(self._survey.rows, place, encoder, wish.request)
        except StudioError as error:
            return TemplateTried(request=wish.request, message=error.message)
        return TemplateTried(request=wish.request, row=row, message=row.detail)

    def _open_row(self, wish: OpenRow) -> RowOpened:
        (row, _), layout = self._find(wish.files, wish.source, wish.index)
        text = write_fields(row.values, row.place).decode()
        if len(text) > MOST_CHARACTERS:
            raise DatasetInvalid(
                f"{row.place} is too long to be corrected here ({len(text):,} characters).",
                "Leave the row out, or correct it in a text editor.",
            )
        return RowOpened(
            request=wish.request,
            files=wish.files,
            source=wish.source,
            index=wish.index,
            place=row.place,
            format=layout.format.key,
            columns=dict(layout.columns),
            values=json.dumps(json.loads(text)),
        )

    def _try_row(self, wish: TryRow) -> RowTried:
        (row, _), layout = self._find(wish.files, wish.source, wish.index)
        rows = self._survey.others if wish.files == "validation" else self._survey.rows
        place = rows.find_index(wish.source, wish.index)
        try:
            values = read_fields(wish.values)
            record = layout.read_values(values)
        except (RowInvalid, DatasetInvalid) as error:
            words = str(error).rstrip(".")
            return RowTried(request=wish.request, message=f"{words[:1].upper()}{words[1:]}.")
        changed = Row(values, row.path, row.number, row.line)
        shown = self._build(rows, place or 0, self._encoder, wish.request, (changed, record))
        problems = tuple(one for one in shown.problems if one != "left_out_by_choice")
        return RowTried(
            request=wish.request, row=shown.model_copy(update={"problems": problems, "count": 1})
        )

    def _build(
        self,
        rows: RowLists,
        place: int,
        encoder: RowEncoder,
        request: int,
        changed: tuple[Row, Record] | None = None,
    ) -> RowShown:
        survey, is_other = self._survey, rows is self._survey.others
        number, index = rows.locate(place)
        one = rows.sources[number]
        files: FileSide = "validation" if is_other else "train"
        found = changed or self._find(files, one.position, index)[0]
        view = view_row(*found, encoder, self._settings, self._base.tokenizer, survey.max_tokens)
        is_held = not is_other and bool(survey.held_back[place])
        is_out = not is_other and changed is None and bool(survey.left_out[place])
        is_known = encoder is self._encoder and changed is None
        codes = rows.codes_of(place) if is_known else ()
        is_left_out = view.is_left_out or is_out
        return RowShown(
            request=request,
            rank=0,
            count=1,
            source=one.position,
            row=int(one.table.rows["number"][index]),
            place=one.table.place(index),
            **_tokens_of(view, is_left_out),
            problems=tuple(dict.fromkeys((*view.problems, *codes))),
            is_left_out=is_left_out,
            is_held_back=is_held,
            side="validation" if is_other or is_held else "train",
            files=files,
            index=index,
        )

    def _find(
        self, files: FileSide, position: int, index: int
    ) -> tuple[tuple[Row, Record], Layout]:
        rows = self._survey.others if files == "validation" else self._survey.rows
        place = rows.find_index(position, index)
        finder = self._finder(files, position)
        found = None
        if place is not None:
            known = rows.sources[rows.locate(place)[0]].table.rows[index]
            found = finder.find(index, int(known["number"]), int(known["line"]) or None)
        if found is None:
            raise DatasetInvalid(
                "The row is not in the file any more.", "The data are read again; please look then."
            )
        return found, finder.layout

    def _finder(self, files: FileSide, position: int) -> RowFinder:
        key = (files, position)
        if key not in self._finders:
            source = self._get_source(files, position)
            self._finders[key] = RowFinder(source, self._base.base_folder)
        return self._finders[key]

    def _get_source(self, files: FileSide, position: int) -> DataSource:
        own = self._settings.validation
        listed = self._settings.train if files == "train" else own if isinstance(own, tuple) else ()
        if position >= len(listed):
            raise DatasetInvalid("The recipe has no such file any more.", "Look at the data again.")
        return listed[position]


def _tokens_of(view: RowView, is_left_out: bool) -> dict[str, Any]:
    bands = [RowBand(**asdict(band)) for band in view.bands]
    fates = view.fates
    if is_left_out:
        fates = "x" * len(fates)
        bands = [band.model_copy(update={"reason": "left_out"}) for band in bands]
    return {
        "ids": view.ids,
        "texts": view.texts,
        "fates": fates,
        "special": view.special,
        "bands": tuple(bands),
        "hidden_at": view.hidden_at,
        "hidden_tokens": view.hidden_tokens,
        "pieces": view.pieces,
        "detail": view.detail,
        "mark": view.mark,
        "written": view.written,
    }
