"""The job that reads single rows of a run's data again, for those who look at their losses."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import StudioError
from studio.core.events.types import Event, RowRead, RunFinished
from studio.core.jobs.orders import ReadRows, ReadRowsOrder, RowPlace
from studio.core.runs.data_of_run import load_run_data
from studio.core.runs.layout import RunLayout
from studio.engine.data.conversation import Conversation, Record, RunningText
from studio.engine.data.digest import digest_row
from studio.engine.data.row_view import RowFinder, write_row
from studio.engine.jobs.presence import Presence
from studio.engine.jobs.requests import RequestFeed, StopWished, ends_when_stopped

_POLL_SECONDS = 0.03
_LONGEST = 4_000


@ends_when_stopped
def run(order: ReadRowsOrder, layout: RunLayout, control: RequestFeed) -> Iterator[Event]:
    """Reads the rows of the order, then those that are asked for.

    Yields:
        RowRead for each row; at the end RunFinished, or RunStopped where somebody ended it.

    Raises:
        StudioError: The run's recipe cannot be read.
    """
    del layout
    reader = _Reader(Path(order.run))
    waiting = deque(order.rows)
    presence = Presence()
    while True:
        control.check_stop()
        for request in control.poll():
            presence.note()
            if isinstance(request, ReadRows):
                waiting = deque(request.rows)
        if waiting:
            yield reader.read(waiting.popleft())
        elif not order.stays:
            break
        elif presence.is_abandoned:
            raise StopWished
        else:
            time.sleep(_POLL_SECONDS)
    yield RunFinished(step=0)


class _Reader:
    """Finds rows in the files of a run; what cannot be read is stated row by row."""

    def __init__(self, folder: Path) -> None:
        settings, self._base_folder = load_run_data(folder)
        self._sources = settings.active_train
        self._finders: dict[int, RowFinder] = {}

    def read(self, place: RowPlace) -> RowRead:
        """Returns a row, or why there is none."""
        try:
            found = self._get_finder(place.source).find(
                place.index, place.number, place.line or None
            )
        except StudioError as error:
            return RowRead(document=place.document, message=error.message)
        if found is None:
            message = "The file has fewer rows than in training."
            return RowRead(document=place.document, message=message, is_changed=True)
        row, record = found
        prompt, answer = _tell(record)
        return RowRead(
            document=place.document,
            place=row.place,
            prompt=_shorten(prompt),
            answer=_shorten(answer),
            written=write_row(row),
            is_changed=bool(place.mark) and digest_row(record).key.hex() != place.mark,
        )

    def _get_finder(self, source: int) -> RowFinder:
        if source not in self._finders:
            self._finders[source] = RowFinder(self._sources[source], self._base_folder)
        return self._finders[source]


def _tell(record: Record) -> tuple[str, str]:
    if isinstance(record, RunningText):
        return "", record.text
    if not isinstance(record, Conversation):
        return "", f"{len(record.ids):,} token numbers"
    answers = record.answer_positions()
    last = answers[-1] if answers else len(record.turns) - 1
    before = [turn for turn in record.turns[:last] if turn.role != "system"]
    prompt = "\n".join(turn.content or "" for turn in before)
    return prompt, record.turns[last].content or "" if record.turns else ""


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
