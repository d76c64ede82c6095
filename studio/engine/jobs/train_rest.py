"""Following the preparation of rows that goes on while the training job already trains."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from studio.core.errors import StudioError
from studio.core.events.types import (
    Event,
    NoticeRaised,
    PhaseEntered,
    RunFinished,
    RunStopped,
    StepFinished,
)
from studio.core.jobs.orders import Request, Stop
from studio.engine.data.background import Background
from studio.engine.data.encode_source import FEWEST_KEPT
from studio.engine.data.prepare import PreparedData
from studio.engine.data.streaming import StreamedRows
from studio.engine.jobs.requests import RequestFeed
from studio.engine.jobs.train_data import tell_data

_TELL_SECONDS = 1.0


class WatchingControl:
    """The wishes of the user, and Stop when the preparation has failed."""

    def __init__(self, control: RequestFeed, rest: Background | None) -> None:
        self._control = control
        self._rest = rest

    def poll(self) -> Sequence[Request]:
        """Returns the requests since the last call, oldest first, without waiting."""
        requests = self._control.poll()
        has_failed = self._rest is not None and self._rest.error is not None
        return [*requests, Stop()] if has_failed else requests


def follow_rest(events: Iterator[Event], data: PreparedData | StreamedRows) -> Iterator[Event]:
    """Yields what a training loop states, and between its steps how far the rows are.

    ``events`` must come from a loop that asks ``WatchingControl``: it stops and saves when rows
    turn out to be unfit, which is raised here afterwards.

    Yields:
        The events; PhaseEntered with the rows prepared, and when all are, what ``tell_data`` does.

    Raises:
        StudioError: Rows that were prepared during training forbid to go on.
    """
    rest = data.rest if isinstance(data, StreamedRows) else None
    if rest is None or not isinstance(data, StreamedRows):
        yield from events
        return
    told_at, is_told = time.monotonic(), False
    for event in events:
        if isinstance(event, RunStopped) and rest.error is not None:
            raise rest.error
        if isinstance(event, RunFinished) and not is_told:
            yield from _tell_end(rest)
        yield event
        if is_told or not isinstance(event, StepFinished):
            continue
        whole = rest.find_result()
        if whole is not None:
            is_told = True
            data.take_tables(whole)
            yield PhaseEntered(phase="training")
            yield from tell_data(whole)
        elif time.monotonic() - told_at >= _TELL_SECONDS:
            told_at = time.monotonic()
            detail = f"preparing rows: {rest.rows:,} of {rest.total_rows:,}"
            yield PhaseEntered(phase="training", detail=detail)


def _tell_end(rest: Background) -> Iterator[Event]:
    """States what became of the preparation when training ended before it was told."""
    whole = rest.find_result()
    if whole is not None:
        yield from tell_data(whole)
    elif isinstance(rest.error, StudioError):
        yield NoticeRaised(
            severity="warning",
            code="rest_unfit",
            message=f"Training ended before all rows were prepared. {rest.error.message}",
            remedy=rest.error.remedy,
        )
    elif rest.error is not None:
        raise rest.error
    else:
        kept = " The next start goes on from there." if rest.rows >= FEWEST_KEPT else ""
        yield NoticeRaised(
            code="rest_unprepared",
            message=f"Training ended when {rest.rows:,} of {rest.total_rows:,} rows were "
            "prepared, so the numbers of tokens are estimates. Each row that was learnt from was "
            f"checked.{kept}",
        )
