"""The survey job: looks through data as the base model sees it and shows any row of it."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Generator, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from studio.core.errors import RecipeInvalid, StudioError
from studio.core.events.types import Event, PhaseEntered, RequestFailed
from studio.core.jobs.orders import (
    CancelCopy,
    LookAt,
    OpenRow,
    SaveCopy,
    ShowRow,
    SurveyOrder,
    TryRow,
    TryTemplate,
)
from studio.core.paths import find_home
from studio.core.recipe.schema_data import DataSettings
from studio.core.runs.layout import RunLayout
from studio.engine.jobs.presence import Presence
from studio.engine.jobs.requests import RequestFeed, StopWished, ends_when_stopped
from studio.engine.jobs.survey_first import iter_first

if TYPE_CHECKING:
    from studio.engine.jobs.row_desk import SurveyBase
    from studio.engine.jobs.survey_desk import Look

_POLL_SECONDS = 0.03
_COPY, _LOOK = "copy", "look"
Wish = LookAt | ShowRow | TryTemplate | OpenRow | TryRow | SaveCopy | CancelCopy


@ends_when_stopped
def run(order: SurveyOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Answers requests; a newer look ends an older one.

    What the files are is told at once; torch and transformers take seconds to load, so the
    tokenizer is read only when the first rows are to be tokenised.

    Yields:
        PhaseEntered; per look SourceExamined, SurveyProgressed, DataProblemFound, LimitsMeasured
        and DataSurveyed, first for a sample, then for all rows; RowShown, TemplateTried,
        RowOpened, RowTried, CopyProgressed, CopySaved or RequestFailed for the other requests; at
        the end RunStopped.
    """
    yield PhaseEntered(phase="loading_data")
    cache = find_home(layout.folder).cache / "rows"
    yield from _serve(_Service(order, cache), _Desk(control))


class _Desk:
    """The requests that wait; of several looks only the newest is kept."""

    def __init__(self, control: RequestFeed) -> None:
        self._control = control
        self._wishes: deque[Wish] = deque()
        self._presence = Presence()

    def find_wish(self) -> Wish | None:
        """Returns the next request, None where nothing is asked.

        Raises:
            StopWished: The user ends the job, or nobody is there any more.
        """
        self._control.check_stop()
        for request in self._control.poll():
            self._presence.note()
            if isinstance(request, LookAt):
                self._wishes.clear()
            if isinstance(request, Wish):
                self._wishes.append(request)
        if not self._wishes and self._presence.is_abandoned:
            raise StopWished
        return self._wishes.popleft() if self._wishes else None


class _Service:
    """The newest look, and what is worked on piece by piece between two requests."""

    def __init__(self, order: SurveyOrder, cache_folder: Path) -> None:
        self._order = order
        self._cache_folder = cache_folder
        self._base: SurveyBase | None = None
        self._look: Look | None = None
        self._works: dict[str, Generator[Event, None, None]] = {}

    def take_step(self) -> Event | None:
        """Returns what the next piece of work tells, None where there is no work."""
        while self._works:
            name = min(self._works)  # a copy is waited for, so it goes before the look
            event = next(self._works[name], None)
            if event is not None:
                return event
            del self._works[name]
        return None

    def answer(self, wish: Wish) -> Event | None:
        """Returns the answer to a request, None where it only begins or ends work.

        Raises:
            StudioError: The request cannot be answered.
        """
        if isinstance(wish, LookAt):
            self._look = None
            self._works[_LOOK] = _guard(self._iter_look(wish), wish.request)
            return None
        if isinstance(wish, CancelCopy):
            if _COPY in self._works:
                self._works.pop(_COPY).close()
            return None
        rows = None if self._look is None else self._look.rows
        if rows is None:
            return None
        if isinstance(wish, SaveCopy):
            self._works[_COPY] = _guard(rows.iter_copy(wish), wish.request)
            return None
        return rows.answer(wish)

    def close(self) -> None:
        """Gives up what is worked on; of a copy that is not whole nothing remains."""
        for work in self._works.values():
            work.close()

    def _iter_look(self, wish: LookAt) -> Iterator[Event]:
        settings = _read_settings(wish)
        first = yield from iter_first(settings, Path(self._order.base_folder), wish.request)
        if not any(one.side == "train" for one in first.sources):
            return
        desk = import_module("studio.engine.jobs.survey_desk")  # torch, transformers: seconds
        if self._base is None:
            self._base = desk.load_base(self._order, self._cache_folder)
        look: Look = desk.Look(self._base, settings, wish.request, first)
        self._look = look
        yield from look.iter_events()


def _serve(service: _Service, desk: _Desk) -> Iterator[Event]:
    """Answers requests; between two pieces of a look or a copy the others are answered."""
    try:
        while True:
            wish = desk.find_wish()
            try:
                event = service.take_step() if wish is None else service.answer(wish)
            except StudioError as error:
                event = None if wish is None else _refuse(wish.request, error)
            if event is not None:
                yield event
            elif wish is None:
                time.sleep(_POLL_SECONDS)
    finally:
        service.close()


def _guard(events: Iterator[Event], request: int) -> Generator[Event, None, None]:
    """Yields events; what goes wrong meanwhile is stated and does not end the job."""
    try:
        yield from events
    except StudioError as error:
        yield _refuse(request, error)


def _read_settings(wish: LookAt) -> DataSettings:
    try:
        return DataSettings.model_validate_json(json.dumps(wish.data), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in ("data", *first["loc"]))
        raise RecipeInvalid(
            f"{place}: {first['msg']}.", "Mend this setting on the Recipe page."
        ) from error


def _refuse(request: int, error: StudioError) -> RequestFailed:
    return RequestFailed(
        request=request, code=error.code, message=error.message, remedy=error.remedy
    )
