"""The link to a chat job: many answers at once are handed on in several turns, in order."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from studio.core.errors import StudioError
from studio.core.events import types
from studio.gui.app import Studio
from studio.gui.bridge.chat_link import ChatLink
from tests.gui.playing import TIMEOUT_MS

COLUMNS = tuple(f"column {number}" for number in range(9))


def listen(link: ChatLink) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    link.text_added.connect(lambda _, column, text: told.append((column, text)))
    link.answer_finished.connect(lambda answer: told.append((answer.column, "end")))
    link.failed.connect(lambda _: told.append(("", "failed")))
    return told


def write(column: str, text: str) -> types.TokensGenerated:
    return types.TokensGenerated(request=1, column=column, text=text)


def finish(column: str) -> types.AnswerFinished:
    return types.AnswerFinished(
        request=1, column=column, text="ab", tokens=2, seconds=1.0, reason="end_of_turn"
    )


def test_nine_answers_that_end_together_are_told_in_turns_and_none_is_lost(
    studio: Studio, qtbot: QtBot
) -> None:
    link = ChatLink(studio.context.feed)
    told = listen(link)
    link._on_job_events_arrived([write(column, "a") for column in COLUMNS])
    link._on_job_events_arrived([write(column, "b") for column in COLUMNS])
    assert told == []
    link._tell_some()
    assert told == [(column, "ab") for column in COLUMNS[:3]]
    link._on_job_events_arrived([finish(column) for column in COLUMNS])
    qtbot.waitUntil(lambda: len(told) == 18, timeout=TIMEOUT_MS)
    for column in COLUMNS:
        assert [text for name, text in told if name == column] == ["ab", "end"]
    assert not link._teller.isActive()


def test_what_was_written_before_the_job_failed_is_told_first(studio: Studio) -> None:
    link = ChatLink(studio.context.feed)
    told = listen(link)
    link._on_job_events_arrived([write(column, "a") for column in COLUMNS])
    link._on_job_launch_failed(StudioError("Gone.", "Load again."))
    assert told == [*((column, "a") for column in COLUMNS), ("", "failed")]
