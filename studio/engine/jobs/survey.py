"""The survey job: looks through data as the base model sees it and shows any row of it."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from studio.core.errors import RecipeInvalid, StudioError
from studio.core.events.types import Event, PhaseEntered, RequestFailed, RunStopped
from studio.core.jobs.orders import LookAt, ShowRow, SurveyOrder, TryTemplate
from studio.core.recipe.schema_data import DataSettings
from studio.core.runs.layout import RunLayout
from studio.engine.jobs.lease import find_home
from studio.engine.jobs.presence import Presence
from studio.engine.jobs.requests import RequestFeed, StopWished
from studio.engine.jobs.survey_desk import Look, SurveyBase
from studio.engine.models.capabilities import get_context_tokens, read_stop_ids
from studio.engine.models.files import load_config, load_tokenizer
from studio.engine.models.reference import find_model

_POLL_SECONDS = 0.03
Wish = LookAt | ShowRow | TryTemplate


def run(order: SurveyOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Loads the tokenizer, then answers requests; a newer look ends an older one.

    Yields:
        PhaseEntered; per look SourceExamined, SurveyProgressed, DataProblemFound, LimitsMeasured
        and DataSurveyed, first for a sample, then for all rows; RowShown, TemplateTried or
        RequestFailed for the other requests; at the end RunStopped.

    Raises:
        StudioError: The model's tokenizer cannot be read.
    """
    try:
        yield PhaseEntered(phase="loading_data")
        base_folder = Path(order.base_folder)
        folder = find_model(order.base, base_folder, order.revision).folder
        config = load_config(folder)
        base = SurveyBase(
            tokenizer=load_tokenizer(folder),
            context=get_context_tokens(config),
            stop_ids=read_stop_ids(folder, config),
            base_folder=base_folder,
            cache_folder=find_home(layout).cache / "rows",
        )
        yield from _serve(base, _Desk(control))
    except StopWished:
        yield RunStopped(step=0)


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
            if isinstance(request, LookAt | ShowRow | TryTemplate):
                self._wishes.append(request)
        if not self._wishes and self._presence.is_abandoned:
            raise StopWished
        return self._wishes.popleft() if self._wishes else None


def _serve(base: SurveyBase, desk: _Desk) -> Iterator[Event]:
    """Answers requests; between two pieces of a look the others are answered."""
    look: Look | None = None
    work: Iterator[Event] = iter(())
    while True:
        wish = desk.find_wish()
        if wish is None:
            event = next(work, None)
            if event is None:
                time.sleep(_POLL_SECONDS)
            else:
                yield event
            continue
        try:
            if isinstance(wish, LookAt):
                look = Look(base, _read_settings(wish), wish.request)
                work = _guard(look.iter_events(), wish.request)
            elif look is not None:
                yield look.show(wish) if isinstance(wish, ShowRow) else look.try_template(wish)
        except StudioError as error:
            yield _refuse(wish.request, error)


def _guard(events: Iterator[Event], request: int) -> Iterator[Event]:
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
