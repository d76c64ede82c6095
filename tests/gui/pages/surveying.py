"""A Data page whose survey never runs: what it asks is kept, and it hears what it is told."""

from __future__ import annotations

from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from studio.core.events.survey import RowBand
from studio.core.events.types import (
    CopyProgressed,
    CopySaved,
    DataSurveyed,
    Event,
    LimitsMeasured,
    RowOpened,
    RowShown,
    RowTried,
    TemplateTried,
)
from studio.core.jobs.orders import (
    AnyRequest,
    LookAt,
    OpenRow,
    SaveCopy,
    ShowRow,
    TryRow,
    TryTemplate,
)
from studio.gui.app import Studio
from studio.gui.bridge.live_job import LiveJob
from studio.gui.pages.data.page import DataPage
from studio.gui.pages.data.tabs import XRAY

_ANSWERS: dict[type[Event], type[Any]] = {
    RowShown: ShowRow,
    TemplateTried: TryTemplate,
    RowOpened: OpenRow,
    RowTried: TryRow,
    CopyProgressed: SaveCopy,
    CopySaved: SaveCopy,
}
ROW = RowShown(
    request=0,
    rank=0,
    count=3,
    source=0,
    row=1,
    place="rows.jsonl, line 1",
    ids=(1, 2, 3, 4, 5, 6),
    texts=("<user>", "Hi 汉", "\n", "<bot>", "Arr", "<end>"),
    fates="rxxrll",
    special=(0, 3, 5),
    bands=(
        RowBand(first=1, behind=3, role="user", turn=1, reason="cut"),
        RowBand(first=4, behind=6, role="assistant", turn=2),
    ),
    mark="ab" * 16,
    written='{"a": 1}',
)
LIMITS = LimitsMeasured(
    request=0,
    limits=(10, 20, 40),
    cut_rows_fraction=(0.5, 0.25, 0.0),
    lost_rows_fraction=(0.1, 0.0, 0.0),
    lost_supervised_fraction=(0.2, 0.0, 0.0),
    kept_tokens_fraction=(0.5, 0.8, 1.0),
    edges=(0, 10, 20, 30, 41),
    rows=(4, 3, 2, 1),
    max_tokens=20,
    auto_tokens=40,
    longest_tokens=40,
    context_tokens=64,
)
SURVEYED = DataSurveyed(
    request=0,
    is_sample=False,
    rows=3,
    train_rows=3,
    validation_rows=0,
    left_out_rows=0,
    tokens=100,
    supervised_tokens=25,
    template="the model's own template",
    template_source="{{ messages }}",
    findings={"email_address": 2, "truncated_prompt": 1},
)


class Child:
    """A survey's child that never runs: keeps what it is asked and says what it is told."""

    def __init__(self, job: LiveJob, asked: list[AnyRequest]) -> None:
        self.job = job
        self.asked = asked

    def last(self, kind: type[Any]) -> Any:
        return [one for one in self.asked if isinstance(one, kind)][-1]

    def say(self, *events: Event) -> None:
        """Tells facts as answers to the newest wish of their kind."""
        told = []
        for event in events:
            kind = _ANSWERS.get(type(event), LookAt)
            told.append(event.model_copy(update={"request": self.last(kind).request}))
        self.job.events_arrived.emit(told)


def open_survey(
    page: DataPage, studio: Studio, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> Child:
    """Returns the child of the page's survey, with the X-ray open and a first look asked for."""
    asked: list[AnyRequest] = []
    job = LiveJob(studio.context.feed.store, lambda: None)
    monkeypatch.setattr(job, "send", asked.append)
    monkeypatch.setattr(studio.context.feed, "start_job", lambda *_: job)
    page._tabs.setCurrentIndex(XRAY)
    qtbot.waitUntil(lambda: bool(asked))
    return Child(job, asked)
